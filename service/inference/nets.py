"""Nets as the engine runs them: an onnxruntime session, or two of one file where a lone request gains by more cores."""

from typing import Any, Protocol

from models_store.tasks.codec import Inputs
from service.inference import devices
from service.inference.engine import Outputs
from service.inference.estimates import RunningMean

RETRY_EVERY = 64
"""After so many lone requests, the session that was slower is tried again: the host may have changed."""


class RunOptions(Protocol):
    """Options of one run at a time; a run whose options get `terminate` ends with an error."""

    terminate: bool


class Net(Protocol):
    """A file's inputs → its outputs. All threads may run it at the same time."""

    def options(self) -> RunOptions:
        """Return new options, for `run`."""
        ...

    def run(self, inputs: Inputs, options: RunOptions | None = None) -> Outputs:
        """Return float32 (B, K), probabilities or numbers."""
        ...


class SessionNet:
    """A net that an onnxruntime session runs."""

    def __init__(self, session: Any) -> None:  # noqa: ANN401  onnxruntime has no types
        self._run = session.run
        self._names = [session.get_outputs()[0].name]

    def options(self) -> RunOptions:
        """Return onnxruntime's options of a run."""
        options: RunOptions = devices.runtime().RunOptions()
        return options

    def run(self, inputs: Inputs, options: RunOptions | None = None) -> Outputs:
        """Return the session's first output."""
        outputs_BK: Outputs = self._run(self._names, inputs, options)[0]
        return outputs_BK


class LoneNet:
    """Two sessions of one file for requests that are alone: one thread, and all cores. What is measured decides."""

    def __init__(self, narrow: Net, wide: Net, *, narrow_s: float, wide_s: float) -> None:
        self._nets = {narrow: RunningMean(narrow_s), wide: RunningMean(wide_s)}
        self._count = 0

    def choose(self) -> Net:
        """Return the session that is faster now; once in a while the other one."""
        self._count += 1
        order = sorted(self._nets, key=lambda net: self._nets[net].value)
        return order[self._count % RETRY_EVERY == 0]

    def measured(self, net: Net, run_s: float) -> None:
        """Take the time of a lone run into account."""
        self._nets[net].add(run_s)
