"""Output tensors of an answer: the model's one output, FP32, or its likeliest classes by name."""

# N examples, K class or label (1 for a number)

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from service.inference.engine import Answer
from service.protocol.errors import ProtocolError
from service.protocol.inference import InferRequest, RequestedOutput
from service.protocol.signatures import Signature


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """One output: an array of FP32, or the elements of BYTES in their order."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: npt.NDArray[np.float32] | list[bytes]
    binary: bool


def check_outputs(request: InferRequest, signature: Signature) -> None:
    """Refuse outputs that the model does not have, before it runs.

    Raises:
        ProtocolError: naming the one that it has.
    """
    for wanted in request.outputs:
        if wanted.name != signature.output:
            raise ProtocolError(f"there is no output {wanted.name[:100]!r}; this model has {signature.output!r}")
    if len(request.outputs) > 1:
        raise ProtocolError(f"the output {signature.output!r} is asked for {len(request.outputs)} times; ask once")


def outputs_of(request: InferRequest, signature: Signature, answer: Answer) -> OutputTensor:
    """Return the output as the request wants it."""
    rows = answer.outputs
    outputs_NK = rows[0][None] if len(rows) == 1 else np.stack(rows)
    if not request.outputs:
        return OutputTensor(signature.output, "FP32", outputs_NK.shape, outputs_NK, request.binary)
    wanted = request.outputs[0]
    binary = request.binary if wanted.binary is None else wanted.binary
    if wanted.classification is None:
        return OutputTensor(wanted.name, "FP32", outputs_NK.shape, outputs_NK, binary)
    return _classified(wanted, signature, outputs_NK, binary=binary)


def notes_of(answer: Answer) -> dict[str, str]:
    """Return parameters of an answer for what its examples' codec notes: by name a list in JSON, a value for each."""
    names = dict.fromkeys(name for notes in answer.notes for name in notes)
    return {name: orjson.dumps([notes.get(name) for notes in answer.notes]).decode() for name in names}


def _classified(wanted: RequestedOutput, signature: Signature, outputs_NK: Any, *, binary: bool) -> OutputTensor:  # noqa: ANN401  numpy's
    assert wanted.classification is not None
    count = min(wanted.classification, outputs_NK.shape[1])
    labels = signature.labels
    elements = [
        _named(row_K, place, labels) for row_K in outputs_NK for place in np.argsort(-row_K, kind="stable")[:count]
    ]
    return OutputTensor(wanted.name, "BYTES", (len(outputs_NK), count), elements, binary)


def _named(row_K: Any, place: int, labels: Sequence[str]) -> bytes:  # noqa: ANN401  numpy's
    """Return `value:index:label`; a number has no label."""
    text = f"{row_K[place]:f}:{place}"
    return (f"{text}:{labels[place]}" if place < len(labels) else text).encode()
