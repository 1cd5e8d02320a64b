"""List of all tasks, with torch: a new one is a room beside this file, and a name in `TASKS`."""

from models_store.tasks.rooms import UnknownTask
from workers.tasks.image.task import IMAGE
from workers.tasks.task import Task
from workers.tasks.text.task import TEXT

TASKS: tuple[Task, ...] = (IMAGE, TEXT)


def task_of(name: str) -> Task:
    """Return the task that a spec's `task` names.

    Raises:
        UnknownTask: if there is no such task.
    """
    for task in TASKS:
        if name in task.names:
            return task
    known = ", ".join(each for task in TASKS for each in task.names)
    raise UnknownTask(f"no worker here can do the task {name!r}; this one knows {known}")
