"""Answer of a dry run: the resolved spec, the reason for each value, and the expected cost of the job."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from models_store.jobs import kinds, phases, stage_costs, submissions
from models_store.jobs.stage_costs import Range, StageEstimate
from models_store.spec.reasons import Decision as Reasoned
from models_store.spec.space import planned
from models_store.spec.train import ResolvedSpec
from models_store.storage.database import Database
from models_store.wording import counted
from service.answers.answer import Answer
from service.answers.documents import Budget, Spec
from service.answers.outcomes import Kind

MINUTE = 60.0
IN_SECONDS_S = 100.0
GIB = 1 << 30
UNKNOWN = "unknown: no job has run here yet; the trainer measures its own steps at the start"


class Decision(Answer):
    """A value that the spec leaves to the recipe, and the recipe's reason."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into `spec`", examples=["/optimizer/lr"])
    value: Any = Field(description="the chosen value")
    why: str = Field(description="the reason, in one sentence")

    @classmethod
    def of(cls, decision: Reasoned) -> "Decision":
        """Return the answer for a decision of the recipe."""
        return cls(pointer=decision.pointer, value=decision.value, why=decision.why)


class ExpectedRange(Answer):
    """An expected figure: the middle, and a range that contains about 8 of 10 jobs."""

    low: float = Field(description="about 1 of 10 jobs is below this value")
    middle: float
    high: float = Field(description="about 1 of 10 jobs is above this value")

    @classmethod
    def of(cls, found: Range | None) -> "ExpectedRange | None":
        """Return the answer for a range, rounded to three digits."""
        if found is None:
            return None
        return cls(low=_rounded(found.low), middle=_rounded(found.middle), high=_rounded(found.high))


class StageCost(Answer):
    """Expected time of one stage of the job."""

    stage: str = Field(examples=["training"])
    seconds: ExpectedRange
    jobs: int = Field(description="number of earlier jobs on which the estimate is based")
    likeness: str = Field(description="similarity of those jobs to this one")


class Estimate(Answer):
    """Expected time and memory of the job, by earlier jobs of this installation."""

    seconds: ExpectedRange | None = Field(description="time of the whole job once a worker has it; null: unknown")
    memory_bytes: ExpectedRange | None = Field(description="peak of the trainer's memory; null: unknown")
    gpu_memory_bytes: ExpectedRange | None = Field(
        description="peak of its GPU's memory; null: unknown, or there is no GPU"
    )
    device: str | None = Field(description="type of the device on which those jobs ran; null: unknown")
    jobs: int = Field(
        description="largest number of earlier jobs on which a stage's estimate is based; 0: nothing is known"
    )
    stages: list[StageCost] = Field(description="the stages of which earlier jobs have figures, in their order")
    unknown: list[str] = Field(description="stages without figures of earlier jobs; they are not included in `seconds`")
    summary: str = Field(description="summary in one sentence")

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
            stages=[_described(each) for each in found.values()],
            unknown=[name for name in wanted if name not in found],
            summary=_in_words(total, stage_costs.most(memory), found, spec),
        )


class DryRun(Answer):
    """Result of a dry run: the resolved spec, without a job."""

    spec: Spec = Field(description="the spec with every default filled in; it can be sent to POST /train unchanged")
    kind: Kind = Field(description="kind of the job that would be made")
    children: int = Field(description="number of child jobs that would be made")
    warnings: list[str] = Field(description="settings in the spec that are allowed but probably not meant")
    decisions: list[Decision] = Field([], description="each value that the spec leaves to the recipe, with the reason")
    estimate: Estimate | None = Field(None, description="expected time and memory of the job; null: nothing is trained")
    budget: Budget | None = Field(
        None,
        description=(
            "time that the training may take, and the values that may be changed for it; null: nothing is trained"
        ),
    )


def _described(estimate: StageEstimate) -> StageCost:
    seconds = ExpectedRange.of(estimate.seconds)
    assert seconds is not None, "a range was given"
    return StageCost(stage=estimate.stage, seconds=seconds, jobs=estimate.jobs, likeness=estimate.likeness)


def _in_words(total: Range | None, memory: Range | None, found: Mapping[str, StageEstimate], spec: ResolvedSpec) -> str:
    if total is None:
        return UNKNOWN
    training = found["training"]
    count = counted(training.jobs, "earlier job")
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
