"""Inference requests and answers over gRPC: messages become what HTTP's JSON becomes, and back.

Data is raw, a byte string for each input in their order, or a list of values in the tensor's own message. An answer has
raw data where the request has, as public servers do, and lists otherwise.
"""

import math
from typing import Any

import numpy as np

from models_store.models.served import Served
from models_store.wording import counted
from service.inference.engine import Answer
from service.protocol import tensors
from service.protocol.datatypes import BYTES, NUMPY
from service.protocol.errors import ProtocolError
from service.protocol.inference import OF_INPUT, InferRequest, parameters_of, request_of
from service.protocol.messages import message
from service.protocol.outputs import OutputTensor, notes_of, outputs_of
from service.protocol.signatures import Signature
from service.protocol.tensors import InputTensor

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
"""datatype → list of its values in a tensor's message; FP16 and BF16 have none"""


def request_from(given: Any) -> InferRequest:  # noqa: ANN401  a message
    """Return the request of a `ModelInferRequest`.

    Raises:
        ProtocolError: if it is not as the protocol has it.
    """
    raw = given.raw_input_contents
    if raw and len(raw) != len(given.inputs):
        raise ProtocolError(
            f"the request has {counted(len(given.inputs), 'input')} and raw data for {len(raw)}; give as many"
        )
    return request_of(
        identity=given.id,
        parameters=_parameters(given.parameters),
        inputs=[_input(each, raw[index] if raw else None) for index, each in enumerate(given.inputs)],
        outputs=[{"name": each.name, "parameters": _parameters(each.parameters)} for each in given.outputs],
        binary=bool(raw),
    )


def response_of(request: InferRequest, served: Served, signature: Signature, answer: Answer) -> Any:  # noqa: ANN401  a message
    """Return the `ModelInferResponse` of an answer."""
    output = outputs_of(request, signature, answer)
    response = message("ModelInferResponse")(model_name=served.model, model_version=str(served.version), id=request.id)
    parameters = {"variant": served.variant, "provider": answer.provider, **notes_of(answer)}
    for name, value in parameters.items():
        response.parameters[name].string_param = value
    tensor = response.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
    if output.binary:
        response.raw_output_contents.append(_raw(output))
    elif isinstance(output.values, list):
        tensor.contents.bytes_contents.extend(output.values)
    else:
        tensor.contents.fp32_contents.extend(output.values.reshape(-1).tolist())
    return response


def _input(given: Any, raw: bytes | None) -> InputTensor:  # noqa: ANN401  a message
    name, datatype, shape = given.name, given.datatype, tuple(given.shape)
    parameters_of(_parameters(given.parameters), OF_INPUT, where=f"input {name!r}")
    if raw is not None:
        if given.HasField("contents"):
            raise ProtocolError(f"input {name!r} has `contents`, and the request has raw data; give one of them")
        return tensors.of_binary(name, datatype, shape, memoryview(raw))
    sizes, count = tensors.checked_shape(name, datatype, shape)
    field = CONTENTS.get(datatype)
    if field is None:
        raise ProtocolError(f"input {name!r} is {datatype}, which comes as raw data alone: use `raw_input_contents`")
    others = [each for each, _ in given.contents.ListFields() if each.name != field]
    if others:
        raise ProtocolError(f"input {name!r} is {datatype}, and has {others[0].name}; its values come in {field}")
    values = getattr(given.contents, field)
    if len(values) != count:
        raise ProtocolError(f"input {name!r} has {counted(len(values), 'value')}; its shape {list(sizes)} has {count}")
    if datatype == BYTES:
        return InputTensor(name, datatype, sizes, list(values))
    wide = {"b": np.bool_, "u": np.uint64, "i": np.int64, "f": np.float64}[NUMPY[datatype].kind]
    return tensors.of_values(name, datatype, sizes, np.fromiter(values, wide, count=math.prod(sizes)))


def _parameters(given: Any) -> dict[str, Any]:  # noqa: ANN401  a map of messages
    """Return parameters as JSON has them."""
    return {name: getattr(each, each.WhichOneof("parameter_choice") or "", None) for name, each in given.items()}


def _raw(output: OutputTensor) -> bytes:
    if isinstance(output.values, list):
        return tensors.framed(output.values)
    return output.values.astype("<f4", copy=False).tobytes()
