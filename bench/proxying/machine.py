"""What Linux tells of processes, cores and the disk."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")


def usable() -> bool:
    """Whether cores can be chosen and CPU time read, as on Linux."""
    return hasattr(os, "sched_setaffinity") and Path("/proc/self/stat").exists()


def cores() -> tuple[int, int]:
    """One core for what is measured, one for the load and the provider; the same one where there is no other."""
    found = sorted(os.sched_getaffinity(0))
    return found[0], found[-1]


@contextmanager
def pinned(chosen: set[int]) -> Iterator[None]:
    """This thread, and each process that it starts meanwhile, on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _fields(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _fields(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        left += children.get(one, [])
    return found


def cpu_seconds(pid: int) -> float:
    """User's and system's, all threads, children too, those that have ended included."""
    ticks = 0
    for one in family(pid):
        ticks += sum(int(value) for value in _fields(one)[11:15])
    return ticks / TICKS


def memory_mib(pid: int) -> float:
    """Resident memory of the process and its children."""
    pages = 0
    for one in family(pid):
        try:
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * PAGE / 2**20


def on_disk(folder: Path) -> bool:
    """Whether a sync there reaches a disk, as far as the file system's name tells."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    under = [(len(place), kind) for place, kind in mounts if folder.resolve().is_relative_to(place)]
    return max(under, default=(0, ""))[1] not in IN_MEMORY


def fsync_ms(folder: Path, count: int) -> float:
    """The median of appending 4 kB to a file and waiting for the disk."""
    took = []
    path = folder / "fsync"
    with path.open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - began) * 1e3)
    path.unlink()
    return statistics.median(took)
