"""What the two ends of ``runicorn viewer HOST:DIR`` say to each other, over the standard streams of ssh.

The near end writes one line, what to show; the far end answers with one line, the token, and with another one when
it ends. So nothing has to be quoted for a shell, and nothing of it is in a list of processes. The near end writes an
empty line from time to time, and the far end ends if they stay out, or if its standard input ends.
"""

from __future__ import annotations

import os
import re
import select
from typing import TYPE_CHECKING

import msgspec

from runicorn.errors import WrongValueError

if TYPE_CHECKING:
    from typing import IO

    from runicorn.viewer.address import Entry

OPTION = "--over-ssh"
SILENCE_S = 300.0
"""How long the far end waits for a sign of the near end: a laptop that sleeps for a short while finds it again."""
SIGN_S = 20.0
_MARK = b"runicorn-viewer-over-ssh "
_MOST_BYTES = 1 << 20
_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,200}")
_PAGE = re.compile(r"[A-Za-z0-9_.~%+/-]{0,1000}")


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the near end asks for.

    Attributes:
        socket: path of the socket to listen at.
        port: of the near end; for the link that ``--list`` shows at the far one.
        storages: to show; none = what commands at the far end use.
        run: with whose page to begin.
        read_only: write nothing.
        idle_s: end after so many seconds without an open page.
        silence_s: end after so many seconds without a sign of the near end.
    """

    socket: str
    port: int
    storages: list[str] = []
    run: str | None = None
    read_only: bool = False
    idle_s: float | None = None
    silence_s: float = SILENCE_S


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the far end answers.

    Attributes:
        socket: as asked for, so that no other line is taken for the answer.
        token: of the viewer; empty if there is none.
        page: of the run that was asked for.
        storages: that it shows.
        error: why there is no viewer.
        ended: there was one, and it was told to end; what ssh returns cannot tell, nor when, for it waits for pages.
    """

    socket: str
    token: str = ""
    page: str = ""
    storages: list[str] = []
    error: str = ""
    ended: bool = False


def read_request(fd: int) -> Request | None:
    """Wait for the request of the near end; None if that has gone.

    Raises:
        WrongValueError: it is none.
    """
    line = b""
    while not line.endswith(b"\n") and len(line) < _MOST_BYTES:
        read = os.read(fd, 1)  # not more than the line: what follows is waited for by its descriptor
        if not read:
            return None
        line += read
    try:
        return msgspec.json.decode(line, type=Request)
    except msgspec.DecodeError as error:
        raise WrongValueError(f"{OPTION} is for `runicorn viewer USER@HOST:DIR` to call: {error}.") from error


def ready(request: Request, entry: Entry, page: str) -> Reply:
    """The answer that a viewer is there."""
    return Reply(request.socket, entry.token, page, [_as_text(each) for each in entry.storages])


def failed(request: Request, error: Exception) -> Reply:
    """The answer that there is none, and why."""
    # str() of a KeyError is the repr of its text.
    return Reply(
        request.socket, error=_as_text(str(error.args[0] if isinstance(error, KeyError) and error.args else error))
    )


def _as_text(text: str) -> str:
    """Names of files may hold bytes that are no text, and JSON cannot."""
    return text.encode("utf-8", "backslashreplace").decode()


def write_reply(fd: int, reply: Reply) -> None:
    """Answer, on a line of its own, whatever a shell's start-up files have printed before.

    Raises:
        OSError: the near end has gone.
    """
    content = b"\n" + _MARK + msgspec.json.encode(reply) + b"\n"
    while content:
        content = content[os.write(fd, content) :]


def read_reply(stream: IO[bytes], socket: str) -> tuple[Reply | None, bytes]:
    """Wait for the answer of the far end; None if that has ended, and the end of what it has printed before.

    Raises:
        WrongValueError: it is no answer that could be right, or too much was printed.
    """
    printed, many = b"", 0
    while line := stream.readline(_MOST_BYTES):
        if line.startswith(_MARK):
            reply = _decoded(line[len(_MARK) :])
            if reply.socket == socket:
                return reply, printed
        many += len(line)
        if many > _MOST_BYTES:
            raise WrongValueError("it has printed more than 1 MiB without an answer")
        printed = (printed + line)[-2000:]
    return None, printed


def _decoded(content: bytes) -> Reply:
    """A reply whose parts may stand in a link."""
    try:
        reply = msgspec.json.decode(content, type=Reply)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WrongValueError(f"its answer cannot be read: {error}") from error
    if not (reply.error or reply.ended) and not (_TOKEN.fullmatch(reply.token) and _PAGE.fullmatch(reply.page)):
        raise WrongValueError("its answer has no valid token")
    return reply


def wait_for_silence(fd: int, silence_s: float) -> None:
    """Return when the near end has gone: its stream has ended, or no sign has come for so long."""
    while select.select([fd], [], [], silence_s)[0] and os.read(fd, 4096):
        pass
