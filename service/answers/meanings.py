"""Answer of a dry run: the resolved spec, why each value was chosen, and what the job is expected to take."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from models_store.jobs import kinds, phases, stage_costs, submissions
from models_store.jobs.stage_costs import Range, StageEstimate
from models_store.spec.reasons import Decision as Reasoned
from models_store.spec.space import planned
from models_store.spec.train import ResolvedSpec
from models_store.storage.database import Database
from service.answers.answer import Answer
from service.answers.documents import Budget, Spec
from service.answers.outcomes import Kind

MINUTE = 60.0
IN_SECONDS_S = 100.0
GIB = 1 << 30
UNKNOWN = "unknown: no job has run here yet; the trainer measures its own steps when it begins"


class Decision(Answer):
    """A value that the spec leaves to the recipe, and why the recipe has chosen it."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into `spec`", examples=["/optimizer/lr"])
    value: Any = Field(description="what was chosen")
    why: str = Field(description="the reason, in one sentence")

    @classmethod
    def of(cls, decision: Reasoned) -> "Decision":
        """Return the answer for a decision of the recipe."""
        return cls(pointer=decision.pointer, value=decision.value, why=decision.why)


class ExpectedRange(Answer):
    """A figure that is expected: the middle, and what about 8 of 10 jobs lie between."""

    low: float = Field(description="about 1 of 10 jobs lies below")
    middle: float
    high: float = Field(description="about 1 of 10 jobs lies above")

    @classmethod
    def of(cls, found: Range | None) -> "ExpectedRange | None":
        """Return the answer for a range, rounded to three digits."""
        if found is None:
            return None
        return cls(low=_rounded(found.low), middle=_rounded(found.middle), high=_rounded(found.high))


class StageCost(Answer):
    """What one stage of the job is expected to take."""

    stage: str = Field(examples=["training"])
    seconds: ExpectedRange
    jobs: int = Field(description="jobs that the estimate rests on")
    likeness: str = Field(description="what those jobs have in common with this one")


class Estimate(Answer):
    """What the job is expected to take, as earlier jobs of this installation have it."""

    seconds: ExpectedRange | None = Field(description="of the whole job, once a worker has it; null: unknown")
    memory_bytes: ExpectedRange | None = Field(description="peak of the trainer's memory; null: unknown")
    gpu_memory_bytes: ExpectedRange | None = Field(
        description="peak of its GPU's memory; null: unknown, or there is no GPU"
    )
    device: str | None = Field(description="type of the device that those jobs ran on; null: unknown")
    jobs: int = Field(description="most earlier jobs that a stage's estimate rests on; 0: nothing is known")
    stages: list[StageCost] = Field(description="the stages that earlier jobs tell something of, in their order")
    unknown: list[str] = Field(description="stages that no earlier job tells anything of; they are not in `seconds`")
    summary: str = Field(description="the same in one sentence")

    @classmethod
    def of(cls, database: Database, spec: ResolvedSpec, card: Mapping[str, Any]) -> "Estimate":
        """Return the answer for a resolved spec and the card of its dataset."""
        document = spec.model_dump(mode="json")
        device = stage_costs.newest_device(database)
        features = stage_costs.features_of(document, card, device=device or "cpu")
        names, left_out = phases.of_kind(kinds.LAST_CHILD, document)
        wanted = [name for name in names if name not in left_out]
        found = stage_costs.estimates(database, features, stages=wanted)
        tried = [found[name] for name in kinds.CHILD if name in found] * planned(spec)
        whole = submissions.children_of(spec) == 0 or submissions.children_of(spec) > planned(spec)
        seconds = [each.seconds for each in [*tried, *(found.values() if whole else ())]]
        memory = [each.memory_bytes for each in found.values() if each.memory_bytes]
        on_gpu = [each.gpu_memory_bytes for each in found.values() if each.gpu_memory_bytes]
        total = stage_costs.total(seconds) if seconds and "training" in found else None
        return cls(
            seconds=ExpectedRange.of(total),
            memory_bytes=ExpectedRange.of(stage_costs.most(memory)),
            gpu_memory_bytes=ExpectedRange.of(stage_costs.most(on_gpu)),
            device=device,
            jobs=max((each.jobs for each in found.values()), default=0),
            stages=[_told(each) for each in found.values()],
            unknown=[name for name in wanted if name not in found],
            summary=_in_words(total, stage_costs.most(memory), found, spec),
        )


class DryRun(Answer):
    """What a spec means, without a job."""

    spec: Spec = Field(description="the spec with every default decided, which may be sent to POST /train as it is")
    kind: Kind = Field(description="kind of the job that it would make")
    children: int = Field(description="jobs that would be made below it; 0: none")
    warnings: list[str] = Field(description="what the spec allows and is unlikely to mean")
    decisions: list[Decision] = Field(
        [], description="each value that the spec leaves to the recipe, and why it was chosen"
    )
    estimate: Estimate | None = Field(None, description="what the job is expected to take; null: nothing is trained")
    budget: Budget | None = Field(
        None, description="how long training may take, and what may be changed for that; null: nothing is trained"
    )


def _told(estimate: StageEstimate) -> StageCost:
    seconds = ExpectedRange.of(estimate.seconds)
    assert seconds is not None, "a range was given"
    return StageCost(stage=estimate.stage, seconds=seconds, jobs=estimate.jobs, likeness=estimate.likeness)


def _in_words(total: Range | None, memory: Range | None, found: Mapping[str, StageEstimate], spec: ResolvedSpec) -> str:
    if total is None:
        return UNKNOWN
    training = found["training"]
    count = f"{training.jobs} earlier job{'s' if training.jobs > 1 else ''}"
    children = f", for {planned(spec)} children one after the other" if planned(spec) else ""
    needed = f" and {_gib(memory.middle)} of memory ({_gib(memory.low)} to {_gib(memory.high)})" if memory else ""
    return (
        f"about {_duration(total.middle)} ({_duration(total.low)} to {_duration(total.high)}){children}{needed}; "
        f"from {count} with {training.likeness}"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < IN_SECONDS_S else f"{seconds / MINUTE:.3g} min"


def _gib(size: float) -> str:
    return f"{size / GIB:.2g} GiB"


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
