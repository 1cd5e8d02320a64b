"""Progress of a family, as a share of its time: what its children took so far, and what the others are expected to."""

from collections.abc import Mapping, Sequence

from models_store.jobs import kinds, phases
from models_store.jobs.job import TERMINAL, Job


def of_family(
    parent: Job, tried: Sequence[Job], *, total: int, publishes: bool, measured_s: Mapping[str, float]
) -> dict[str, float]:
    """Return the `fraction` that is done, which never falls, and `eta_s` once a child has ended.

    `tried` are the children so far, of `total`; when it `publishes`, one more child comes after them. `measured_s` is
    what earlier jobs let expect of each stage.
    """
    times = [(child.started_at, child.finished_at) for child in tried if child.state in TERMINAL]
    took = [ended - began for began, ended in times if began is not None and ended is not None]
    child = kinds.of(parent.kind).children
    assert child is not None, "a parent has children"
    usual_s = sum(phases.expected_s(child, parent.spec, measured_s).values())
    each_s = max(sum(took) / len(took), 0.1) if took else usual_s
    last_s = sum(phases.expected_s(kinds.LAST_CHILD, parent.spec, measured_s).values()) if publishes else 0.0
    done = len(times) * each_s / (total * each_s + last_s)
    fraction = round(max(float(parent.progress.get("fraction", 0.0)), done), 4)
    latest = max((ended for _, ended in times if ended is not None), default=None)
    if not took or latest is None or parent.started_at is None or not done:
        return {"fraction": fraction}
    return {"fraction": fraction, "eta_s": round((latest - parent.started_at) * (1 - done) / done, 1)}
