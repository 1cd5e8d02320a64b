"""List of all tasks, with torch: a new one is a room beside this file, and a name in `TASKS`."""

from workers.tasks.image.task import IMAGE
from workers.tasks.task import Task

TASKS: tuple[Task, ...] = (IMAGE,)


def task_of(name: str) -> Task:
    """Return the task that a spec's `task` names."""
    return next(task for task in TASKS if name in task.names)
