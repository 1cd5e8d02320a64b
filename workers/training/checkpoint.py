"""Everything that a run needs to go on as if it had never stopped.

On one CPU device with the same number of threads, a run resumed from any step ends with bit-identical weights. The
order of an epoch and the random changes of a step come from generators seeded with (seed, epoch, step), so only
torch's global generators (dropout) have a state to keep.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from models_store.spec.train import ResolvedSpec

FORMAT = 3

State = dict[str, Any]


@dataclass
class Best:
    """The best weights so far, on the CPU, and what made them so: the monitored value, then the validation loss.

    They are those that were validated: an average's, where there is one.
    """

    value: float
    loss: float
    epoch: int
    weights: dict[str, Tensor]


@dataclass
class Position:
    """Where a run stands: epochs and steps that are done, the sums of the epoch under way, and what came of the others.

    `sums` is float64 (loss, right answers, examples), on the run's device.
    """

    sums: Tensor
    epoch: int = 0
    step: int = 0
    rate: float = 0.0
    """the learning rate of the last step"""
    history: list[dict[str, float]] = field(default_factory=list)
    best: Best | None = None
    reference: float | None = None
    """the value that early stopping watches, at the last gain that counted: small gains add up to one"""
    epochs_without_gain: int = 0
    finished: bool = False

    def as_state(self) -> State:
        """Return it as plain values and tensors."""
        best = None if self.best is None else dict(vars(self.best))
        return {
            "sums": self.sums.cpu(),
            "epoch": self.epoch,
            "step": self.step,
            "rate": self.rate,
            "history": self.history,
            "best": best,
            "reference": self.reference,
            "epochs_without_gain": self.epochs_without_gain,
            "finished": self.finished,
        }

    @classmethod
    def from_state(cls, state: State, *, device: torch.device) -> "Position":
        """Return what `as_state` gave."""
        best = None if state["best"] is None else Best(**state["best"])
        return cls(**{**state, "best": best, "sums": state["sums"].to(device)})


def digest(spec: ResolvedSpec) -> str:
    """Return the SHA-256 of the spec, by which a checkpoint is known to be of this run."""
    return hashlib.sha256(f"{FORMAT} {spec.model_dump_json()}".encode()).hexdigest()


def random_state() -> State:
    """Return the state of torch's global generators."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def restore_random_state(state: State) -> None:
    """Set torch's global generators; those of CUDA only where the same number of devices is there."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.is_available() and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
