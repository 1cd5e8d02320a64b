"""Limits of the control groups that this process is in: CPU time, memory, and kills for lack of memory.

Versions 1 and 2 are read, see cgroups(7). A group binds everything below it, so each level up to the mount counts.
`root` is the folder that `/proc` and `/sys` are in.
"""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def cpu_limit(*, root: Path = ROOT) -> float | None:
    """Return how many cores' worth of time the groups may use, the least of all levels; None without a limit."""
    limits = [limit for folder in _folders("cpu", root) if (limit := _quota(folder)) is not None]
    return min(limits, default=None)


def memory_left(*, root: Path = ROOT) -> int | None:
    """Return the bytes that the groups may still take, the least of all levels; None without a limit.

    Cached file pages that nobody has used lately count as free: the kernel drops them first.
    """
    left = []
    for folder in _folders("memory", root):
        for limit, used, idle in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, now = _number(folder / limit), _number(folder / used)
            if most is not None and now is not None and most < 1 << 62:  # version 1 writes "none" as a huge number
                left.append(max(0, most - now + _counter(folder / "memory.stat", idle)))
    return min(left, default=None)


def memory_kills(*, root: Path = ROOT) -> int:
    """Return a counter that grows when the kernel kills a process of these groups, or of the host, to free memory."""
    files = [folder / name for folder in _folders("memory", root) for name in ("memory.events", "memory.oom_control")]
    return sum(_counter(file, "oom_kill") for file in [*files, root / "proc/vmstat"])


def _folders(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of the process's groups for a controller, from its own up to the mount."""
    paths = [line.split(":", 2)[1:] for line in _lines(root / "proc/self/cgroup") if line.count(":") >= 2]  # noqa: PLR2004  id:controllers:path
    for fields in (line.split(" ") for line in _lines(root / "proc/self/mountinfo")):
        if "-" not in fields:
            continue
        within, mount = _plain(fields[3]), _plain(fields[4])
        kind, _, options = fields[fields.index("-") + 1 :][:3]
        if kind == "cgroup2":
            wanted = [path for names, path in paths if not names]
        elif kind == "cgroup" and controller in options.split(","):
            wanted = [path for names, path in paths if controller in names.split(",")]
        else:
            continue
        top = root / mount.lstrip("/")
        for path in wanted:
            below = Path(path).relative_to(within) if Path(path).is_relative_to(within) else Path()
            if ".." in below.parts:  # the group is outside of what this namespace shows
                below = Path()
            yield from (top / each for each in (below, *below.parents))


def _plain(field: str) -> str:
    """Return a field of mountinfo without its octal escapes."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def _quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        limit = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # not there, or `max`
        return None
    return limit if limit > 0 else None  # version 1 writes "none" as -1


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _counter(file: Path, name: str) -> int:
    for line in _lines(file):
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdecimal():
            return int(value)
    return 0


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
