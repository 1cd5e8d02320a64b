"""Signatures of models: the tensors that a model takes and gives, and how its examples are read from them.

A request gives the model's own tensors, each with its examples along the first axis; or, as its only input, a tensor
of BYTES of any name, (N) or (N, 1), whose elements are the examples as they are stored: image files, texts.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from models_store.models.served import Served
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.targets import Target
from models_store.tasks import rooms
from models_store.tasks.codec import Codec, Inputs, Tensor
from models_store.tasks.task import Contract
from models_store.wording import counted
from service.inference.decode import Example, Ready
from service.protocol import datatypes
from service.protocol.datatypes import BYTES, NUMPY
from service.protocol.errors import ProtocolError
from service.protocol.tensors import InputTensor

MOST_KEPT = 1024
OUTPUTS = {"class": "probabilities", "labels": "probabilities", "number": "values"}
"""target → name of a model's output"""
_Key = tuple[str, str, int, str]


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives."""

    contract: Contract
    codec: Codec[Any]
    target: Target
    labels: tuple[str, ...]
    inputs: tuple[Tensor, ...]

    @property
    def output(self) -> str:
        """Return the name of the one output."""
        return OUTPUTS[self.target.name]

    @property
    def output_count(self) -> int:
        """Return the number of values of the output for each example."""
        return self.target.output_count(len(self.labels))

    def examples(self, given: list[InputTensor], *, most: int) -> tuple[list[Example], list[str]]:
        """Return the examples of a request, and what errors call each.

        Raises:
            ProtocolError: if the inputs are not those of the model, or there are none, or more than `most`.
        """
        if len(given) == 1 and given[0].datatype == BYTES:
            return self._encoded(given[0], most=most)
        arrays = self._arrays(given)
        count = len(next(iter(arrays.values())))
        self._check_count(count, most)
        decoded = self.codec.examples_of(arrays)
        return [Ready(each) for each in decoded], [f"example {index}" for index in range(count)]

    def _encoded(self, tensor: InputTensor, *, most: int) -> tuple[list[Example], list[str]]:
        if len(tensor.shape) not in {1, 2} or tensor.shape[1:] not in {(), (1,)}:
            raise ProtocolError(
                f"input {tensor.name!r} is BYTES of shape {list(tensor.shape)}; {self.contract.examples} come as "
                "[N] or [N, 1]"
            )
        self._check_count(len(tensor.values), most)
        examples = [self._example(each) for each in tensor.values]
        return examples, [f"input {tensor.name!r}, element {index}" for index in range(len(examples))]

    def _example(self, element: bytes | str) -> Example:
        """Return an element as the codec takes it: text of JSON as `/predict` does, or else as a file's bytes."""
        if isinstance(element, bytes) or _takes_text(self.contract.json_example, element):
            return element
        return element.encode()

    def _check_count(self, count: int, most: int) -> None:
        if not 0 < count <= most:
            raise ProtocolError(
                f"the request has {counted(count, self.contract.example, self.contract.examples)}; from 1 to {most} "
                "may come at once"
            )

    def _arrays(self, given: list[InputTensor]) -> Inputs:
        known = {tensor.name: tensor for tensor in self.inputs}
        if len(given) != len(known) or any(each.name not in known for each in given):
            raise ProtocolError(
                f"the request has {self._shown([each.name for each in given])}; this model takes {self.described}, or "
                f"{self.contract.examples} as one input of BYTES"
            )
        arrays = {each.name: _converted(each, known[each.name]) for each in given}
        if len({len(array) for array in arrays.values()}) > 1:
            lengths = ", ".join(f"{name!r} {len(array)}" for name, array in arrays.items())
            raise ProtocolError(f"the inputs have different numbers of examples along their first axis: {lengths}")
        return arrays

    @property
    def described(self) -> str:
        """Return the inputs in words."""
        return " and ".join(
            f"{tensor.name!r} ({datatypes.name_of(tensor.dtype)} {shape_of(tensor)})" for tensor in self.inputs
        )

    def _shown(self, names: list[str]) -> str:
        return f"the inputs {', '.join(repr(name) for name in names[:10])}" if names else "no inputs"


class Signatures:
    """The signatures that were asked for, by version and file: versions of one file may name classes differently."""

    def __init__(self, blobs: Blobs, *, settings: Settings) -> None:
        self._blobs = blobs
        self._settings = settings
        self._known: OrderedDict[_Key, Signature] = OrderedDict()

    def known(self, served: Served) -> Signature | None:
        """Return the signature if it was made before."""
        return self._known.get(_key(served))

    def make(self, served: Served) -> Signature:
        """Return the signature; this may read the model's auxiliary files, so it does not run in the event loop."""
        task = rooms.task_of(served.card)
        contract, target = rooms.contract_of(task), rooms.target_of(task)
        files = {name: self._blobs.local(sha256) for name, sha256 in served.auxiliary_blobs.items()}
        codec = contract.codec(served.card, files=files, settings=self._settings)
        signature = Signature(contract, codec, target, tuple(served.card["labels"]), codec.describe())
        self._known[_key(served)] = signature
        while len(self._known) > MOST_KEPT:
            self._known.popitem(last=False)
        return signature


def _key(served: Served) -> _Key:
    return served.owner, served.model, served.version, served.blob


def shape_of(tensor: Tensor) -> list[int]:
    """Return the shape of an input as metadata has it: any number of examples first; -1 is any length."""
    return [-1, *(-1 if length is None else length for length in tensor.shape)]


def _converted(given: InputTensor, wanted: Tensor) -> Any:  # noqa: ANN401  numpy's
    """Return a tensor as the model takes it: of its shape, and of its datatype or one whose every value it holds."""
    shape = given.shape
    if len(shape) != len(wanted.shape) + 1 or not _fits(shape[1:], wanted.shape):
        raise ProtocolError(f"input {given.name!r} has the shape {list(shape)}; the model takes {_shown(wanted)}")
    if given.datatype == BYTES:
        raise ProtocolError(f"input {given.name!r} is BYTES; the model takes {_shown(wanted)}")
    values = np.asarray(given.values)
    if values.dtype != wanted.dtype:
        values = _widened(given, values, wanted)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ProtocolError(f"input {given.name!r} has a value that is no finite number")
    return values


def _fits(sizes: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return sizes == wanted or all(length in {None, size} for size, length in zip(sizes, wanted, strict=True))


def _widened(given: InputTensor, values: Any, wanted: Tensor) -> Any:  # noqa: ANN401  numpy's
    if not np.can_cast(values.dtype, wanted.dtype, "safe"):
        exact = ", ".join(name for name, dtype in NUMPY.items() if np.can_cast(dtype, wanted.dtype, "safe"))
        raise ProtocolError(
            f"input {given.name!r} is {given.datatype}; the model takes {_shown(wanted)} (exact: {exact})"
        )
    return values.astype(wanted.dtype)


def _shown(wanted: Tensor) -> str:
    return f"{datatypes.name_of(wanted.dtype)} of shape {shape_of(wanted)}"


def _takes_text(json_example: Any, text: str) -> bool:  # noqa: ANN401  any of pydantic's types
    try:
        _adapter(json_example).validate_python(text, strict=True)
    except ValidationError:
        return False
    return True


@lru_cache(maxsize=64)
def _adapter(json_example: Any) -> TypeAdapter[Any]:  # noqa: ANN401  the same
    return TypeAdapter(json_example)
