"""Names of tasks stand in the rooms of tasks alone."""

import re
import subprocess
from pathlib import Path

from models_store.tasks.rooms import TASKS

ROOT = Path(__file__).parents[3]
NAMES = "|".join(name for task in TASKS for name in task.targets)
ALLOWED = re.compile(r"^(models_store|workers)/tasks/[a-z_]+/|^models_store/spec/upgrade")


def test_no_file_outside_a_tasks_room_names_a_task() -> None:
    listed = subprocess.run(
        ["git", "grep", "-lE", f'"({NAMES})"', "--", "service", "workers", "models_store"],  # noqa: S607
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )

    assert [path for path in listed.stdout.splitlines() if not ALLOWED.match(path)] == []
