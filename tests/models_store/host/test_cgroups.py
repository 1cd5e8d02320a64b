"""Limits of control groups, read from trees of files as kernels and container runtimes lay them out."""

from pathlib import Path

import pytest

from models_store.host import cgroups
from tests.models_store.host.host_files import V2_MOUNT, a_host

V1_CPU_MOUNT = "33 32 0:28 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
V1_MEMORY_MOUNT = "34 32 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
GIB = 1 << 30


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "limit"),
    [
        pytest.param("0::/", V2_MOUNT, {"cpu.max": "150000 100000"}, 1.5, id="container, version 2"),
        pytest.param("0::/", V2_MOUNT, {"cpu.max": "max 100000"}, None, id="version 2 without a limit"),
        pytest.param("0::/", V2_MOUNT, {}, None, id="root group, which has no file"),
        pytest.param(
            "0::/a.slice/b.service",
            V2_MOUNT,
            {"a.slice/cpu.max": "200000 100000", "a.slice/b.service/cpu.max": "300000 50000"},
            2.0,
            id="the outer group is the tighter one",
        ),
        pytest.param(
            "0::/a.slice/b.service",
            V2_MOUNT,
            {"a.slice/cpu.max": "max 100000", "a.slice/b.service/cpu.max": "50000 100000"},
            0.5,
            id="the inner group is the tighter one",
        ),
        pytest.param(
            "4:cpu,cpuacct:/jobs\n1:name=systemd:/elsewhere",
            V1_CPU_MOUNT.format(root="/"),
            {"cpu,cpuacct/jobs/cpu.cfs_quota_us": "250000", "cpu,cpuacct/jobs/cpu.cfs_period_us": "100000"},
            2.5,
            id="version 1",
        ),
        pytest.param(
            "4:cpu,cpuacct:/jobs",
            V1_CPU_MOUNT.format(root="/"),
            {"cpu,cpuacct/jobs/cpu.cfs_quota_us": "-1", "cpu,cpuacct/jobs/cpu.cfs_period_us": "100000"},
            None,
            id="version 1 without a limit",
        ),
        pytest.param(
            "4:cpuacct,cpu:/docker/abc/inner",
            V1_CPU_MOUNT.format(root="/docker/abc"),
            {"cpu,cpuacct/cpu.cfs_quota_us": "100000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            1.0,
            id="container, version 1: the mount shows the group itself",
        ),
        pytest.param(
            "4:cpu,cpuacct:/\n0::/unified",
            V1_CPU_MOUNT.format(root="/") + "\n31 23 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
            {"cpu,cpuacct/cpu.cfs_quota_us": "300000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            3.0,
            id="both versions at once",
        ),
        pytest.param("0::/../../other", V2_MOUNT, {"cpu.max": "400000 100000"}, 4.0, id="a group outside of the view"),
        pytest.param("0::/", V2_MOUNT, {"cpu.max": "gibberish"}, None, id="unreadable"),
        pytest.param("0::/", V2_MOUNT, {"cpu.max": "100000 0"}, None, id="no period"),
        pytest.param(
            "0::/", V2_MOUNT.replace("/sys/fs/cgroup", "/sys/fs/cg\\040roup"), {"../cg roup/cpu.max": "200000 100000"},
            2.0, id="a mount point with a space",
        ),
        pytest.param("", "", {}, None, id="no control groups"),
    ],
)  # fmt: skip
def test_the_tightest_limit_of_cpu_time_counts(
    tmp_path: Path, groups: str, mounts: str, files: dict[str, str], limit: float | None
) -> None:
    root = a_host(tmp_path, groups=groups, mounts=mounts, files=files)

    assert cgroups.cpu_limit(root=root) == limit


def test_a_system_without_proc_has_no_limits(tmp_path: Path) -> None:
    assert (cgroups.cpu_limit(root=tmp_path), cgroups.memory_left(root=tmp_path)) == (None, None)
    assert cgroups.memory_kills(root=tmp_path) == 0


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "left"),
    [
        pytest.param(
            "0::/a/b",
            V2_MOUNT,
            {
                "a/memory.max": str(4 * GIB),
                "a/memory.current": str(3 * GIB),
                "a/memory.stat": f"anon 1\ninactive_file {GIB}",
                "a/b/memory.max": "max",
                "a/b/memory.current": str(GIB),
            },
            2 * GIB,
            id="version 2, in the outer group, and idle cache counts as free",
        ),
        pytest.param(
            "4:memory:/jobs",
            V1_MEMORY_MOUNT,
            {
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "memory/memory.usage_in_bytes": str(9 * GIB),
                "memory/jobs/memory.limit_in_bytes": str(2 * GIB),
                "memory/jobs/memory.usage_in_bytes": str(GIB // 2),
            },
            3 * GIB // 2,
            id="version 1, below a group without a limit",
        ),
        pytest.param("0::/", V2_MOUNT, {"memory.max": "max", "memory.current": "5"}, None, id="no limit"),
        pytest.param("0::/", V2_MOUNT, {"memory.max": "5", "memory.current": "9"}, 0, id="above its limit"),
    ],
)
def test_the_memory_left_is_that_of_the_tightest_group(
    tmp_path: Path, groups: str, mounts: str, files: dict[str, str], left: int | None
) -> None:
    root = a_host(tmp_path, groups=groups, mounts=mounts, files=files)

    assert cgroups.memory_left(root=root) == left


@pytest.mark.parametrize(
    ("groups", "mounts", "file"),
    [
        ("0::/a", V2_MOUNT, "sys/fs/cgroup/a/memory.events"),
        ("4:memory:/jobs", V1_MEMORY_MOUNT, "sys/fs/cgroup/memory/jobs/memory.oom_control"),
        ("0::/a", V2_MOUNT, "proc/vmstat"),
    ],
)
def test_a_kill_for_memory_is_counted(tmp_path: Path, groups: str, mounts: str, file: str) -> None:
    root = a_host(tmp_path, groups=groups, mounts=mounts, files={})
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text("oom 9\noom_kill 2\n")
    before = cgroups.memory_kills(root=root)

    (root / file).write_text("oom 9\noom_kill 3\n")

    assert cgroups.memory_kills(root=root) == before + 1
