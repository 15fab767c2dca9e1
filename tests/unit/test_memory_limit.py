"""What the memory cgroups of a process leave it, read from trees of files as the kernel lays them out."""

from pathlib import Path

import pytest

from runicorn.host.memory_limit import MemoryLimit

MIB = 1 << 20
V1_MOUNT = "35 31 0:32 {root} {point} rw,relatime shared:9 - cgroup cgroup rw,memory\n"
V2_MOUNT = "41 31 0:38 {root} {point} rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def tree(tmp_path: Path, cgroup: str, mounts: str) -> MemoryLimit:
    write(tmp_path / "proc/self/cgroup", cgroup)
    write(tmp_path / "proc/self/mountinfo", mounts)
    return MemoryLimit(str(tmp_path))


def level(directory: Path, limit: str, used: int, *, high: str = "max", cache: int = 0) -> None:
    write(directory / "memory.max", f"{limit}\n")
    write(directory / "memory.high", f"{high}\n")
    write(directory / "memory.current", f"{used}\n")
    write(directory / "memory.stat", f"anon 5\ninactive_file {cache}\nactive_file 7\n")


def level_v1(directory: Path, limit: int, used: int, *, cache: int = 0) -> None:
    write(directory / "memory.limit_in_bytes", f"{limit}\n")
    write(directory / "memory.usage_in_bytes", f"{used}\n")
    write(directory / "memory.stat", f"inactive_file 1\ntotal_inactive_file {cache}\n")


def test_the_tightest_level_counts(tmp_path):
    """An ancestor with less left than the process's own cgroup decides."""
    limit = tree(tmp_path, "0::/job/step\n", V2_MOUNT.format(root="/", point="/sys/fs/cgroup"))
    base = tmp_path / "sys/fs/cgroup"
    level(base / "job/step", str(100 * MIB), 10 * MIB)
    level(base / "job", str(100 * MIB), 70 * MIB)
    assert limit.left_bytes() == 30 * MIB


def test_high_is_a_limit(tmp_path):
    """Beyond ``memory.high`` a process is throttled, so it counts as ``memory.max`` does."""
    limit = tree(tmp_path, "0::/job\n", V2_MOUNT.format(root="/", point="/sys/fs/cgroup"))
    level(tmp_path / "sys/fs/cgroup/job", "max", 10 * MIB, high=str(50 * MIB))
    assert limit.left_bytes() == 40 * MIB


def test_page_cache_is_not_used(tmp_path):
    """What the kernel gives back by itself counts as free."""
    limit = tree(tmp_path, "0::/job\n", V2_MOUNT.format(root="/", point="/sys/fs/cgroup"))
    level(tmp_path / "sys/fs/cgroup/job", str(100 * MIB), 90 * MIB, cache=60 * MIB)
    assert limit.left_bytes() == 70 * MIB


def test_first_version(tmp_path):
    """Version 1 has a hierarchy for memory alone, beside an empty second one."""
    mounts = V2_MOUNT.format(root="/", point="/sys/fs/cgroup/unified") + V1_MOUNT.format(
        root="/", point="/sys/fs/cgroup/memory"
    )
    limit = tree(tmp_path, "4:cpu:/\n3:memory,hugetlb:/job/a\n0::/\n", mounts)
    level_v1(tmp_path / "sys/fs/cgroup/memory/job/a", 1 << 62, 5 * MIB)
    level_v1(tmp_path / "sys/fs/cgroup/memory/job", 80 * MIB, 60 * MIB, cache=10 * MIB)
    assert limit.left_bytes() == 30 * MIB


@pytest.mark.parametrize("path", ["/docker/abc", "/docker/abc/inner", "/../..", "/docker/abcd"])
def test_in_a_container(tmp_path, path):
    """A container sees its own cgroup at the mount point, whatever path the kernel gives."""
    limit = tree(tmp_path, f"0::{path}\n", V2_MOUNT.format(root="/docker/abc", point="/sys/fs/cgroup"))
    level(tmp_path / "sys/fs/cgroup", str(64 * MIB), 4 * MIB)
    assert limit.left_bytes() == 60 * MIB


def test_a_mount_point_with_a_space(tmp_path):
    """The octal numbers of ``mountinfo`` are read."""
    limit = tree(tmp_path, "0::/\n", V2_MOUNT.format(root="/", point="/my\\040cgroup"))
    level(tmp_path / "my cgroup", str(64 * MIB), MIB)
    assert limit.left_bytes() == 63 * MIB


@pytest.mark.parametrize("cgroup", ["", "0::/job\n", "nonsense\n", "3:memory:/x\n"])
def test_no_limit(tmp_path, cgroup):
    """Without a limit, without cgroups and with files that make no sense there is none."""
    limit = tree(tmp_path, cgroup, V2_MOUNT.format(root="/", point="/sys/fs/cgroup") + "short - x\n")
    level(tmp_path / "sys/fs/cgroup/job", "max", MIB)
    assert limit.left_bytes() is None


def test_more_used_than_allowed(tmp_path):
    """A limit that was lowered below what is used leaves less than nothing."""
    limit = tree(tmp_path, "0::/job\n", V2_MOUNT.format(root="/", point="/sys/fs/cgroup"))
    level(tmp_path / "sys/fs/cgroup/job", str(MIB), 3 * MIB)
    assert limit.left_bytes() == -2 * MIB
