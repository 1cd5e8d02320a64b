"""The trainer, a process of its own that a supervisor starts: it reads its assignment and does the job.

`python -m workers.process.trainer ASSIGNMENT PARENT_PID LIFELINE REPORTS`, the last two being descriptors of pipes.
"""

import contextlib
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch

from models_store.errors import EspalierError
from models_store.host import cores
from models_store.jobs import kinds, phases
from models_store.settings import Settings
from models_store.storage import disk
from models_store.storage.blobs import Blobs
from models_store.tasks.rooms import read_resolved
from models_store.wording import counted
from workers.export import sessions
from workers.process import liveness, parent_death
from workers.process.assignment import EXIT_DRAINED, EXIT_PROBLEM, EXIT_TROUBLE, Assignment
from workers.process.checkpoints import JobCheckpoints
from workers.process.progress import Drained
from workers.process.reporting import PipeReporter
from workers.stages.context import Story, Work
from workers.stories import measure, predict_dataset, preview, supervised, trial

STORIES: dict[kinds.Story, Story] = {
    "supervised": supervised.run,
    "trial": trial.run,
    "measure": measure.run,
    "preview": preview.run,
    "predict_dataset": predict_dataset.run,
}
URGENT_NICE = 5  # a third of a training's share of a core that both want
FIRST_TO_BE_KILLED = 1000  # proc(5), oom_score_adj


def main(arguments: list[str]) -> int:
    """Work on the assignment and return the exit code; a fault of ours ends in a traceback, and counts as a crash."""
    path, parent_pid, lifeline, reports = arguments
    sys.stdout, sys.stderr = disk.Unfailing(sys.stdout), disk.Unfailing(sys.stderr)  # its log may be on a full disk
    parent_death.die_with_parent(int(parent_pid))
    parent_death.die_at_end_of(int(lifeline))
    settings = Settings()
    assignment = Assignment.read(Path(path))
    spec = read_resolved(assignment.spec)
    memory = memory_needed if _trains_from_the_start(assignment) else None
    plan = phases.expected_s(assignment.kind, spec.model_dump(mode="json"), assignment.measured_s)
    reporter = PipeReporter(int(reports), plan=[*plan.items()], memory=memory, done=assignment.progress)
    for phase in plan.keys() - ({"training"} - assignment.measured_s.keys()):
        reporter.expect(phase, plan[phase])
    reporter.listen()
    liveness.report_work(reporter.alive, stall_s=settings.stall_s)
    threading.Thread(target=reporter.tick_on, name="ticks", daemon=True).start()
    if assignment.gives_way:
        give_way()
    share_cores(assignment, tell=reporter.log)
    blobs = Blobs(settings.blobs_url, scratch=settings.scratch)
    began = time.monotonic()
    try:
        checkpoints = JobCheckpoints(
            blobs,
            job_id=assignment.job_id,
            names=assignment.checkpoints,
            staging=Path(assignment.staging),
            keep=lambda sha256: reporter.say("checkpoint", {"sha256": sha256}),
            log=reporter.log,
        )
        work = Work(assignment, settings, spec, device_of(assignment, settings), blobs, reporter, checkpoints)
        reporter.say("result", _story(work)(work).as_document())
        reporter.end_phase()
    except Drained:
        return EXIT_DRAINED
    except Exception as error:
        fault = _fault(error, settings)
        if fault is None:
            raise
        if fault.is_the_hosts:
            reporter.say("trouble", {"code": fault.code, "detail": fault.detail})
            return EXIT_TROUBLE
        reporter.say("problem", fault.as_problem())
        return EXIT_PROBLEM
    reporter.log(f"done in {time.monotonic() - began:.1f} s")
    return 0


def share_cores(assignment: Assignment, *, tell: Callable[[str], None]) -> None:
    """Have torch, and all that asks it for its number of threads, use this trainer's share of the cores."""
    usable = cores.usable()
    threads = assignment.threads or usable
    torch.set_num_threads(threads)
    trainers = counted(assignment.trainers, "trainer runs", "trainers run")
    if assignment.gives_way:
        trainers = "an urgent job gives way to the trainers"
    tell(f"{threads} of {counted(usable, 'core')}: {trainers} on this host")


def memory_needed() -> dict[str, int | str]:
    """Return the peak of this process's memory, and of its GPU's where it uses one, with the device's type."""
    peak: dict[str, int | str] = {"memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10}
    on_gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return peak | ({"gpu_memory_bytes": on_gpu, "device": "cuda"} if on_gpu else {"device": "cpu"})


def _trains_from_the_start(assignment: Assignment) -> bool:
    """Tell whether nothing is taken up from an earlier attempt or another job: its phases take as long as they take."""
    return kinds.of(assignment.kind).trains and assignment.promoted is None and not assignment.checkpoints


def give_way() -> None:
    """Leave the cores to the trainers beside this one, and be the first to be killed when memory runs out."""
    os.nice(URGENT_NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_BE_KILLED), encoding="ascii")


def device_of(assignment: Assignment, settings: Settings) -> torch.device:
    """Return where the job calculates; one that gives way leaves the GPU alone.

    Raises:
        DeviceUnavailable: as `choose_device` does.
    """
    return torch.device("cpu") if assignment.gives_way else choose_device(settings.training_device)


def _fault(error: Exception, settings: Settings) -> EspalierError | None:
    """Return what to report of an error; None when it is a fault of ours.

    Without room on the disk, that is the reason, whatever became of it on its way here.
    """
    if isinstance(error, EspalierError) and error.is_the_hosts:
        return error
    if disk.is_full(error) or not disk.has_room(settings.scratch):
        return disk.no_room_for("the job's files")
    return error if isinstance(error, EspalierError) else None


def choose_device(wanted: str) -> torch.device:
    """Return where to train: `auto` takes CUDA where a device is really there.

    Raises:
        DeviceUnavailable: if `cuda` is asked for and not there.
    """
    is_there = wanted != "cpu" and torch.cuda.is_available()
    if wanted == "cuda" and not is_there:
        raise sessions.DeviceUnavailable(
            "DEVICE is `cuda` and torch finds no CUDA device; check nvidia-smi, or set DEVICE=auto"
        )
    return torch.device("cuda" if is_there else "cpu")


def _story(work: Work) -> Story:
    """Return what does a job of this kind; a task may bring its own way to a published version."""
    kind = kinds.of(work.assignment.kind)
    assert kind.story is not None, "a parent has no trainer"
    own = work.task.story() if kind.publishes else None
    return own or STORIES[kind.story]


if __name__ == "__main__":
    exit_code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # the libraries take seconds to tidy up a process that has nothing left to do
