"""Nets as the engine runs them: an onnxruntime session, or two of one file where a lone request gains by more cores."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

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


class BoundNet:
    """A net whose inputs and outputs have buffers on a device, a set for each of some shapes; others go without.

    With `graphs`, each of these shapes is a CUDA graph of its own, which needs addresses that stay the same. Calls take
    turns, because they share the buffers.
    """

    def __init__(self, session: Any, shapes: Sequence[Inputs], *, device: str, graphs: bool) -> None:  # noqa: ANN401  onnxruntime has no types
        self._session = session
        self._unbound = SessionNet(session)
        self._graphs = graphs
        self._turn = threading.Lock()
        self._bound = {_shape_of(each): self._bind(each, device, number) for number, each in enumerate(shapes, 1)}

    def options(self) -> RunOptions:
        """Return onnxruntime's options of a run."""
        return self._unbound.options()

    def run(self, inputs: Inputs, options: RunOptions | None = None) -> Outputs:
        """Return the session's first output."""
        given: Any = options or self.options()
        bound = self._bound.get(_shape_of(inputs))
        if self._graphs:
            given.add_run_config_entry("gpu_graph_id", str(NO_GRAPH if bound is None else bound.number))
        with self._turn:
            if bound is None:
                return self._unbound.run(inputs, given)
            for name, buffer in bound.inputs.items():
                buffer.update_inplace(np.ascontiguousarray(inputs[name]))
            self._session.run_with_iobinding(bound.binding, given)
            outputs_BK: Outputs = np.array(bound.output.numpy())
        return outputs_BK

    def _bind(self, shape: Inputs, device: str, number: int) -> "_Bound":
        new, binding = devices.runtime().OrtValue.ortvalue_from_numpy, self._session.io_binding()
        options: Any = self.options()
        if self._graphs:
            options.add_run_config_entry("gpu_graph_id", str(NO_GRAPH))
        inputs = {name: new(array.copy(), device, 0) for name, array in shape.items()}
        output = new(np.zeros_like(self._unbound.run(shape, options)), device, 0)
        for name, buffer in inputs.items():
            binding.bind_ortvalue_input(name, buffer)
        binding.bind_ortvalue_output(self._session.get_outputs()[0].name, output)
        return _Bound(number, binding, inputs, output)


@dataclass(frozen=True)
class _Bound:
    """Buffers of one shape, and the number of its graph."""

    number: int
    binding: Any
    inputs: dict[str, Any]
    output: Any


NO_GRAPH = -1
Shape = tuple[tuple[str, tuple[int, ...]], ...]


def _shape_of(inputs: Inputs) -> Shape:
    return tuple((name, array.shape) for name, array in sorted(inputs.items()))


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
