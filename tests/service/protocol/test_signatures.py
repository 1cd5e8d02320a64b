"""Examples from tensors, of a task that takes numbers, and of a codec with two tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from models_store.targets import ONE_CLASS
from models_store.tasks.codec import Codec, Inputs, Tensor
from service.inference.decode import Ready
from service.protocol import rest, tensors
from service.protocol.errors import ProtocolError
from service.protocol.signatures import Signature
from service.protocol.tensors import InputTensor
from tests.tasks.toy.contract import INPUT, ROWS, RowCodec

OF_ROWS = Signature(ROWS, RowCodec(), ONE_CLASS, ("a", "b"), RowCodec().describe())
VALUES = [[0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0]]


class PairCodec(Codec[tuple[Any, Any]]):
    """A sequence of any length, and its mask."""

    def describe(self) -> tuple[Tensor, ...]:
        return Tensor("ids", "int64", (None,)), Tensor("mask", "bool", (None,))

    def collate(self, examples: Sequence[tuple[Any, Any]]) -> Inputs:
        return {"ids": np.stack([ids for ids, _ in examples]), "mask": np.stack([mask for _, mask in examples])}


OF_PAIRS = Signature(ROWS, PairCodec(), ONE_CLASS, ("a", "b"), PairCodec().describe())


def binary(datatype: str, values: Any, *, name: str = INPUT) -> InputTensor:
    return tensors.of_binary(name, datatype, list(values.shape), memoryview(values.tobytes()))


def examples(signature: Signature, *given: InputTensor) -> list[Any]:
    found, names = signature.examples(list(given), most=8)
    assert len(found) == len(names)
    assert all(isinstance(each, Ready) for each in found)
    return [each.decoded for each in found]


@pytest.mark.parametrize("codec", [RowCodec(), PairCodec()])
def test_examples_of_undoes_collate(codec: Codec[Any]) -> None:
    inputs = {tensor.name: tensor.zeros(3, free=5) for tensor in codec.describe()}

    again = codec.collate(codec.examples_of(inputs))

    assert again.keys() == inputs.keys()
    assert all(np.array_equal(again[name], inputs[name]) for name in inputs)


def test_rows_of_a_binary_tensor_are_views_of_the_body() -> None:
    body = np.array(VALUES, np.float32).tobytes()

    rows = examples(OF_ROWS, tensors.of_binary(INPUT, "FP32", [2, 4], memoryview(body)))

    assert all(not row.flags.owndata and row.base is not None for row in rows)
    assert np.array_equal(rows, VALUES)


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "INT8", "UINT16", "INT16", "FP16", "FP32"])
def test_a_datatype_that_the_model_holds_exactly_is_converted(datatype: str) -> None:
    values = np.array(VALUES, tensors.NUMPY[datatype])

    rows = examples(OF_ROWS, binary(datatype, values))

    assert np.array_equal(rows, VALUES)
    assert all(row.dtype == np.float32 for row in rows)


def test_bf16_is_converted() -> None:
    upper_halves = (np.array(VALUES, np.float32).view(np.uint32) >> 16).astype(np.uint16)

    assert np.array_equal(examples(OF_ROWS, binary("BF16", upper_halves)), VALUES)


@pytest.mark.parametrize("datatype", ["INT32", "INT64", "UINT32", "UINT64", "FP64"])
def test_a_datatype_that_may_lose_something_is_refused(datatype: str) -> None:
    with pytest.raises(ProtocolError, match="the model takes FP32"):
        examples(OF_ROWS, binary(datatype, np.array(VALUES, tensors.NUMPY[datatype])))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_finite_number_is_refused(value: float) -> None:
    with pytest.raises(ProtocolError, match="no finite number"):
        examples(OF_ROWS, binary("FP32", np.full((1, 4), value, np.float32)))


def test_inputs_may_come_in_any_order_and_of_any_length() -> None:
    ids, mask = np.arange(6, dtype=np.int64).reshape(2, 3), np.ones((2, 3), np.bool_)

    rows = examples(OF_PAIRS, binary("BOOL", mask, name="mask"), binary("INT64", ids, name="ids"))

    assert [row[0].tolist() for row in rows] == [[0, 1, 2], [3, 4, 5]]


def test_all_inputs_have_as_many_examples() -> None:
    ids, mask = np.zeros((2, 3), np.int64), np.ones((1, 3), np.bool_)

    with pytest.raises(ProtocolError, match="different numbers of examples"):
        examples(OF_PAIRS, binary("INT64", ids, name="ids"), binary("BOOL", mask, name="mask"))


@pytest.mark.parametrize(("signature", "body"), [(OF_ROWS, b"\0" * 15), (OF_PAIRS, b"\0" * 16)])
def test_a_body_of_data_alone_must_have_a_known_shape(signature: Signature, body: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"each example 16|can't say their shapes"):
        rest.read_raw(body, signature, is_file=False)


def test_more_examples_than_allowed_are_refused() -> None:
    with pytest.raises(ProtocolError, match="from 1 to 8"):
        examples(OF_ROWS, binary("FP32", np.zeros((9, 4), np.float32)))


def test_text_is_a_file_where_the_task_takes_no_text() -> None:
    given = tensors.of_json("rows", "BYTES", [1], ["[0, 1, 0, 1]"])

    found, names = OF_ROWS.examples([given], most=8)

    assert (found, names) == ([b"[0, 1, 0, 1]"], ["input 'rows', element 0"])
