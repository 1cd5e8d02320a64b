"""Saving a run: what of it is in its checkpoint, and whether the one there is of this run."""

from collections.abc import Callable
from typing import Any

import torch

from models_store.spec.train import ResolvedSpec
from workers.process.cadence import Cadence
from workers.process.progress import Checkpoints, Reporter
from workers.training import checkpoint


class Saver:
    """The checkpoint of one run: saved every `every_s` seconds, and less often where saving takes long."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        *,
        spec: ResolvedSpec,
        device: torch.device,
        clock: Callable[[], float],
        every_s: float,
    ) -> None:
        self._checkpoints, self._device = checkpoints, device
        self._cadence = Cadence(every_s, clock=clock)
        self._digest = checkpoint.digest(spec)

    def load(self, reporter: Reporter) -> checkpoint.State | None:
        """Return the state that is there, and take as many threads as it was calculated on; None: the run is fresh."""
        saved = self._checkpoints.load()
        if saved is None:
            return None
        if saved["spec"] != self._digest:
            reporter.warn("the checkpoint there is of another spec; this run starts at the beginning")
            return None
        if saved["device"] != self._device.type:
            reporter.log(
                f"begun on {saved['device']}, the run goes on on {self._device.type}: it will differ in the last digits"
            )
        elif self._device.type == "cpu":
            torch.set_num_threads(saved["threads"])
        return saved

    def begin(self) -> None:
        """Count the time to the next checkpoint from now."""
        self._cadence.begin()

    @property
    def is_due(self) -> bool:
        """Whether it is time to save again."""
        return self._cadence.is_due

    def save(self, state: dict[str, Any]) -> None:
        """Save a state, with what tells it from another run's and lets the calculation go on alike."""
        with self._cadence.saving():
            self._checkpoints.save(
                {
                    "spec": self._digest,
                    "device": self._device.type,
                    "threads": torch.get_num_threads(),
                    "random": checkpoint.random_state(),
                    **state,
                }
            )
