"""Fixtures of the tests by ssh: a server of one's own on loopback, and viewers that reach a storage through it.

These tests are outside of the README's command, for they need Debian's package ``openssh-server``; ``.ci/run`` installs
it. Started as root, sshd also needs the directory ``/run/sshd``, as the package's own service makes it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from far import SSHD, NearViewer, Sshd, is_dead
from support import wait_until

import runicorn


@pytest.fixture(scope="session", autouse=True)
def _needs_sshd() -> None:
    """Fail, and do not skip: who runs these tests wants them run."""
    if not os.path.exists(SSHD):
        pytest.fail("these tests need sshd: apt-get install openssh-server")
    if os.geteuid() == 0 and not os.path.isdir("/run/sshd"):
        pytest.fail("sshd, started as root, needs a directory: mkdir -m 0755 /run/sshd")


@pytest.fixture(scope="session", autouse=True)
def _no_socket_is_left() -> None:
    """At the end there is no folder of a socket at which nobody listens; the others are those of tests beside these."""
    before = set(Path("/tmp").glob("runicorn-ssh-*"))
    yield
    wait_until(
        lambda: not [each for each in Path("/tmp").glob("runicorn-ssh-*") if each not in before and is_dead(each)]
    )


@pytest.fixture
def make_sshd(tmp_path):
    """Start a server of ssh; more lines of its configuration may be given."""
    made = []

    def make(*lines):
        made.append(Sshd(tmp_path / f"sshd-{len(made)}", *lines))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def sshd(make_sshd):
    """A server of ssh on this machine."""
    return make_sshd()


@pytest.fixture
def far_viewer(sshd, tmp_path):
    """Start ``runicorn viewer`` for a target, by ssh; nothing of it is left afterwards."""
    links = tmp_path / "near"
    links.mkdir()
    started = []

    def start(target, *options, server=None):
        started.append(NearViewer(server or sshd, target, *options, links=links))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def far_storage(sshd):
    """A storage on the other machine, with one run."""
    storage = sshd.home / "storage"
    with runicorn.init("cv", storage=str(storage), alias="baseline") as run:
        run.log({"loss": 1.0})
    return storage
