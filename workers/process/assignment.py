"""Protocol between a supervisor and its trainer: a file in one direction, JSON lines in the other.

Reports are `{"kind": …, "data": …}`. Of kind phase, progress, metrics and log they become the job's events; `tick` is
progress by nothing but time; `alive` says that a call that takes long goes on; `cost` is what a phase has taken;
`warning` warns the job's owner of a bad result; `plan` is the job's spec from now on, fitted to its budget;
`checkpoint` names a blob to keep; `result` is what to publish; `problem` says why the job can't succeed; `trouble` why
this attempt can't, through no fault of the job's.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

EXIT_DRAINED = 75  # EX_TEMPFAIL of sysexits.h: asked to stop, stopped at a checkpoint
EXIT_TROUBLE = 71  # EX_OSERR: something is wrong with this host; another attempt may succeed
EXIT_PROBLEM = 65  # EX_DATAERR: the job can't succeed, and the problem was reported


@dataclass(frozen=True)
class AssignedDataset:
    """What a job trains on and measures with. Blobs are named by their digest."""

    id: str
    digest: str
    classes: list[str]
    content_blob: str
    manifest_blob: str
    auxiliary: dict[str, str] = field(default_factory=dict)
    """auxiliary files: name → member of the content"""


@dataclass(frozen=True)
class TrainedNet:
    """A net that another job has trained: its weights (a blob), and how its training went."""

    weights: str
    history: list[dict[str, float]]
    best_epoch: int
    precision: str
    batch_size: int


@dataclass(frozen=True)
class TeacherNet:
    """The net that a job's net learns from: its weights (a blob), and the stored spec that it was trained by."""

    weights: str
    spec: dict[str, Any]


@dataclass(frozen=True)
class Fold:
    """One fold of a cross-validation; all but `index` is the same for all of them."""

    index: int
    folds: int
    seed: int
    grouped: bool


@dataclass(frozen=True)
class StoredVariant:
    """A published variant: its file (a blob) and its card."""

    name: str
    blob: str
    card: dict[str, Any]


@dataclass(frozen=True)
class Prediction:
    """What a job predicts with: its parameters, its version's card and codec's files; provider → default variant."""

    parameters: dict[str, Any]
    card: dict[str, Any]
    auxiliary_blobs: dict[str, str]
    defaults: dict[str, str]


@dataclass(frozen=True)
class Assignment:
    """One attempt at one job. Blobs are named by their digest; `staging` is a folder of this host."""

    job_id: str
    spec: dict[str, Any]
    spec_sha256: str
    dataset: AssignedDataset | None
    """None: the job's task has no data"""
    checkpoints: list[str]
    staging: str
    kind: str = "train"
    threads: int | None = None
    """threads to calculate on: this trainer's share of the host's cores; None: all that may be used"""
    trainers: int = 1
    """how many trainers share the cores, this one included"""
    gives_way: bool = False
    """whether it leaves cores, GPU and memory to the trainers beside it"""
    facts: dict[str, Any] = field(default_factory=dict)
    """what is known of the dataset, where a plan is to be fitted to it: the fields of a DatasetFacts"""
    measured_s: dict[str, float] = field(default_factory=dict)
    """stage → seconds that earlier jobs let expect of it"""
    progress: float = 0.0
    """share of the job's time that earlier attempts have reported as done"""
    initial_weights: str | None = None
    """what the backbone starts from (a blob), when that is a model of ours or a file of the user's; of a measuring job,
    what its net was trained to"""
    teacher: TeacherNet | None = None
    preview: dict[str, Any] | None = None
    """of a preview: what its contact sheet shows"""
    fold: Fold | None = None
    keeps_weights: bool = False
    """of a trial: its weights may be promoted"""
    promoted: TrainedNet | None = None
    """what is not trained again: a search's winner, or the version that is compressed"""
    compressed_from: str | None = None
    """of a compression: the version that it takes up, as `name:version`"""
    variants: tuple[StoredVariant, ...] = ()
    """of a measuring or predicting job: the version's files"""
    prediction: Prediction | None = None

    def write(self, path: Path) -> None:
        """Write the assignment as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Assignment":
        """Return the assignment that `write` wrote."""
        document = json.loads(path.read_text(encoding="utf-8"))
        parts = {
            "dataset": AssignedDataset,
            "teacher": TeacherNet,
            "fold": Fold,
            "promoted": TrainedNet,
            "prediction": Prediction,
        }
        given = {name: part(**document[name]) for name, part in parts.items() if document[name] is not None}
        variants = tuple(StoredVariant(**variant) for variant in document["variants"])
        return cls(**document | given | {"variants": variants})
