"""Inference requests and answers over HTTP: JSON, with the data of some tensors as bytes behind it.

    body = JSON (as long as `Inference-Header-Content-Length` says), then each input with `binary_data_size`, in order

A length of 0 means that the body is the data alone: one tensor, as its model takes it, of as many examples as fit; or,
with the content type of a file, one example. The answer to such a request is binary too.
"""

import math
import re
from typing import Any

import numpy as np
import orjson

from models_store.models.served import Served
from models_store.wording import counted
from service.inference.engine import Answer
from service.protocol import datatypes, tensors
from service.protocol.datatypes import BYTES
from service.protocol.errors import ProtocolError
from service.protocol.inference import OF_INPUT, InferRequest, parameters_of, request_of, tensors_of
from service.protocol.outputs import OutputTensor, notes_of, outputs_of
from service.protocol.signatures import Signature, shape_of
from service.protocol.tensors import InputTensor

LENGTH_HEADER = b"inference-header-content-length"
DIGITS = re.compile(rb"[0-9]{1,18}")
MOST_JSON_VALUES = 4_000_000
"""Each takes about 40 bytes of memory; more values come as binary data."""
OF_BODY = {"id", "model_name", "model_version", "parameters", "inputs", "outputs"}


def header_length(given: bytes | None, body_bytes: int) -> int | None:
    """Return the length of the JSON at the begin of a body; None: all of it.

    Raises:
        ProtocolError: if it is no number, or more than the body has.
    """
    if given is None:
        return None
    if DIGITS.fullmatch(given) is None or int(given) > body_bytes:
        raise ProtocolError(
            f"Inference-Header-Content-Length is {given[:50].decode('latin-1')!r}; it is the length of the JSON at the "
            f"begin of the body, which has {counted(body_bytes, 'byte')}"
        )
    return int(given)


def read(body: bytes, length: int | None) -> InferRequest:
    """Return the request of a body whose first `length` bytes are JSON.

    Raises:
        ProtocolError: if it is not as the protocol has it.
    """
    view = memoryview(body)
    text = view if length is None else view[:length]
    document = _parsed(text, body, len(text))
    given = document.get("inputs")
    if given is None:
        raise ProtocolError("the request has no `inputs`: a list of tensors")
    inputs, at = [], len(text)
    for each in tensors_of(given, "inputs"):
        tensor, at = _input(each, view, at)
        inputs.append(tensor)
    if at != len(body):
        raise ProtocolError(
            f"{counted(len(body) - at, 'byte')} of the body are left behind the last input; set each input's "
            "`binary_data_size`, and Inference-Header-Content-Length"
        )
    return request_of(
        identity=document.get("id", ""),
        parameters=document.get("parameters"),
        inputs=inputs,
        outputs=document.get("outputs"),
    )


def read_raw(body: bytes, signature: Signature, *, is_file: bool) -> InferRequest:
    """Return the request of a body that is all data.

    Raises:
        ProtocolError: if the model takes several tensors, or one of any length, or the bytes are no whole examples.
    """
    tensor = InputTensor("body", BYTES, (1,), [body]) if is_file else _of_raw(body, signature)
    return request_of(identity="", parameters=None, inputs=[tensor], outputs=None, binary=True)


def write(request: InferRequest, served: Served, signature: Signature, answer: Answer) -> tuple[bytes, int | None]:
    """Return the body of an answer, and the length of its JSON where binary data follows."""
    output = outputs_of(request, signature, answer)
    data = _binary(output) if output.binary else None
    document: dict[str, Any] = {
        "model_name": served.model,
        "model_version": str(served.version),
        "parameters": {"variant": served.variant, "provider": answer.provider, **notes_of(answer)},
        "outputs": [_described(output, data)],
    }
    if request.id:
        document["id"] = request.id
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return (text, None) if data is None else (text + data, len(text))


def _parsed(text: memoryview, body: bytes, length: int) -> dict[str, Any]:
    if body.count(b",", 0, length) > MOST_JSON_VALUES:
        raise ProtocolError(
            f"the JSON has more than {MOST_JSON_VALUES} values; send tensors of this size as binary data"
        )
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(
            f"the body is not JSON: {error}; set Inference-Header-Content-Length where data follows it"
        ) from error
    if not isinstance(document, dict):
        raise ProtocolError("the request is not a JSON object")
    unknown = document.keys() - OF_BODY
    if unknown:
        raise ProtocolError(f"the request has a key {min(unknown)[:100]!r}; it may have {', '.join(sorted(OF_BODY))}")
    return document


def _input(given: dict[str, Any], view: memoryview, at: int) -> tuple[InputTensor, int]:
    """Return an input, and where in the body the data of the next one begins."""
    name, datatype = given["name"], given.get("datatype")
    parameters = parameters_of(given.get("parameters"), OF_INPUT, where=f"input {name!r}")
    if "binary_data_size" not in parameters:
        return tensors.of_json(name, datatype, given.get("shape"), given.get("data")), at
    size = parameters["binary_data_size"]
    if type(size) is not int or not 0 <= size <= len(view) - at:
        raise ProtocolError(
            f"input {name!r} has a `binary_data_size` of {str(size)[:50]}, and the body has "
            f"{counted(len(view) - at, 'byte')} left for it"
        )
    if "data" in given:
        raise ProtocolError(f"input {name!r} has `data` and `binary_data_size`; give one of them")
    return tensors.of_binary(name, datatype, given.get("shape"), view[at : at + size]), at + size


def _of_raw(body: bytes, signature: Signature) -> InputTensor:
    wanted = signature.inputs[0]
    sizes = [size for size in wanted.shape if size is not None]
    if len(signature.inputs) != 1 or len(sizes) != len(wanted.shape):
        raise ProtocolError(f"this model takes {signature.described}; a body of data alone can't say their shapes")
    row_bytes = np.dtype(wanted.dtype).itemsize * math.prod(sizes)
    if len(body) % row_bytes:
        raise ProtocolError(
            f"the body has {counted(len(body), 'byte')}, and each example {row_bytes}: "
            f"{datatypes.name_of(wanted.dtype)} {shape_of(wanted)[1:]}; a file comes with its own content type"
        )
    shape = [len(body) // row_bytes, *sizes]
    return tensors.of_binary(wanted.name, datatypes.name_of(wanted.dtype), shape, memoryview(body))


def _binary(output: OutputTensor) -> bytes:
    if isinstance(output.values, list):
        return tensors.framed(output.values)
    return output.values.astype("<f4", copy=False).tobytes()


def _described(output: OutputTensor, data: bytes | None) -> dict[str, Any]:
    described: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
    if data is not None:
        described["parameters"] = {"binary_data_size": len(data)}
    elif isinstance(output.values, list):
        described["data"] = [each.decode() for each in output.values]
    else:
        described["data"] = np.ascontiguousarray(output.values).reshape(-1)
    return described
