"""Inference requests of the protocol, whatever carried them: input tensors, wanted outputs, and parameters.

Parameters of a request: `priority` (1 first … 9 last; 0: the default), `timeout` (microseconds, as Triton has it; 0:
the default), `binary_data_output`; of an output: `classification`, `binary_data`; of an input: `binary_data_size`.
Sequences are refused, because no model here keeps a state between requests; unknown parameters are refused too.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.inference.engine import DEFAULT, FIRST, LAST
from service.problems import nearest
from service.protocol.errors import ProtocolError
from service.protocol.tensors import InputTensor

LONGEST_ID = 1000
MOST_TENSORS = 100
SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")
OF_REQUEST = {"priority", "timeout", "binary_data_output"}
OF_INPUT = {"binary_data_size"}
OF_OUTPUT = {"classification", "binary_data"}
LONGEST_TIMEOUT_US = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that the client names; `classification` is how many classes to name instead of all probabilities."""

    name: str
    classification: int | None
    binary: bool | None


@dataclass(frozen=True, slots=True)
class InferRequest:
    """One request; `deadline_s` is by `time.monotonic()`."""

    id: str
    inputs: list[InputTensor]
    outputs: list[RequestedOutput]
    """empty: all outputs"""
    priority: int
    deadline_s: float | None
    binary: bool
    """whether outputs are binary data where they don't say otherwise"""


NO_PARAMETERS: Mapping[str, Any] = {}


def request_of(
    *,
    identity: Any,  # noqa: ANN401  any JSON
    parameters: Any,  # noqa: ANN401  any JSON
    inputs: list[InputTensor],
    outputs: Any,  # noqa: ANN401  any JSON
    binary: bool = False,
) -> InferRequest:
    """Return the request; its inputs were checked by themselves.

    Raises:
        ProtocolError: if a parameter or an output is not as the protocol has it.
    """
    if not isinstance(identity, str) or len(identity) > LONGEST_ID:
        raise ProtocolError(f"`id` is a string of at most {LONGEST_ID} characters")
    given = parameters_of(parameters, OF_REQUEST | set(SEQUENCES), where="the request")
    _refuse_sequences(given)
    if "binary_data_output" in given:
        binary = _flag(given["binary_data_output"], "binary_data_output")
    names = [each.name for each in inputs]
    if len(set(names)) != len(names):
        raise ProtocolError(f"two inputs have the same name; they are {', '.join(map(repr, names[:10]))}")
    return InferRequest(
        identity,
        inputs,
        _outputs(outputs),
        _priority(given.get("priority", 0)),
        _deadline(given.get("timeout", 0)),
        binary,
    )


def parameters_of(given: Any, known: set[str], *, where: str) -> Mapping[str, Any]:  # noqa: ANN401  any JSON
    """Return the parameters of a request or a tensor.

    Raises:
        ProtocolError: if they are no object, or one is unknown.
    """
    if given is None or given == {}:
        return NO_PARAMETERS
    if not isinstance(given, dict):
        raise ProtocolError(f"`parameters` of {where} are an object")
    for name in given:
        if name not in known:
            raise ProtocolError(f"{where} has a parameter {name[:100]!r}; {nearest(name, known - set(SEQUENCES))}")
    return given


def tensors_of(given: Any, where: str) -> Sequence[Any]:  # noqa: ANN401  any JSON
    """Return the list of a request's inputs or outputs, each an object with a name.

    Raises:
        ProtocolError: if it is none.
    """
    if not isinstance(given, list) or len(given) > MOST_TENSORS:
        raise ProtocolError(f"`{where}` is a list of at most {MOST_TENSORS} tensors")
    for each in given:
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise ProtocolError(f"each of `{where}` is an object with a `name`")
    return given


def _outputs(given: Any) -> list[RequestedOutput]:  # noqa: ANN401  any JSON
    if given is None or given == []:
        return []
    wanted = []
    for each in tensors_of(given, "outputs"):
        where = f"output {each['name'][:100]!r}"
        parameters = parameters_of(each.get("parameters"), OF_OUTPUT, where=where)
        classes = parameters.get("classification")
        if classes is not None and not (_is_integer(classes) and classes > 0):
            raise ProtocolError(f"`classification` of {where} is the number of classes to name: 1 or more")
        binary = parameters.get("binary_data")
        binary = None if binary is None else _flag(binary, "binary_data")
        wanted.append(RequestedOutput(each["name"], classes, binary))
    return wanted


def _refuse_sequences(given: Mapping[str, Any]) -> None:
    """Refuse a request of a sequence; an empty id, which some clients always send, means none."""
    for name in SEQUENCES:
        if given.get(name):
            raise ProtocolError(f"`{name}` was given, and models here keep no state between requests: leave it out")


def _priority(given: Any) -> int:  # noqa: ANN401  any JSON
    if not _is_integer(given) or not 0 <= given <= LAST:
        raise ProtocolError(
            f"`priority` is {str(given)[:50]}; it is from {FIRST}, served first, to {LAST}; 0 is the default"
        )
    return given or DEFAULT


def _deadline(timeout_us: Any) -> float | None:  # noqa: ANN401  any JSON
    if not _is_integer(timeout_us) or not 0 <= timeout_us <= LONGEST_TIMEOUT_US:
        raise ProtocolError(
            f"`timeout` is {str(timeout_us)[:50]}; it is in microseconds, up to {LONGEST_TIMEOUT_US}; 0 is the default"
        )
    return time.monotonic() + timeout_us / 1e6 if timeout_us else None


def _flag(given: Any, name: str) -> bool:  # noqa: ANN401  any JSON
    if not isinstance(given, bool):
        raise ProtocolError(f"`{name}` is true or false")
    return given


def _is_integer(given: Any) -> bool:  # noqa: ANN401  any JSON
    return type(given) is int
