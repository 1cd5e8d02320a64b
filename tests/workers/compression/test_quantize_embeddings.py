from pathlib import Path

import numpy as np
import onnx
import pytest

from models_store.spec.quantization import DynamicInt8
from tests.workers.tasks.text.text_nets import a_text_net, a_text_spec, exported, some_texts, with_large_weights
from workers.compression.quantization.dynamic import quantize_dynamic
from workers.compression.quantization.failures import QuantizationImpossible
from workers.compression.quantization.floats import halve
from workers.compression.quantization.tables import STAMP_BYTES
from workers.compression.quantization.weights import round_weights_to_8_bits
from workers.export.sessions import answer, open_session

TEXTS_NL = some_texts([30, 64, 1, 12])


@pytest.fixture(scope="module", params=["lstm", "gru"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    backbone = {"kind": request.param, "embedding": 64, "width": 48, "pooling": "mean"}
    spec = a_text_spec(
        backbone=backbone, input={"tokenizer": {"kind": "characters", "min_count": 1}, "max_tokens": 600}
    )
    return exported(
        with_large_weights(a_text_net(spec)), spec, tmp_path_factory.mktemp("source") / f"{request.param}.onnx"
    )


def difference(path: Path, other: Path) -> float:
    answers = [answer(open_session(each, device="cpu", threads=1), {"code_points": TEXTS_NL}) for each in (path, other)]
    return float(np.abs(answers[0] - answers[1]).max())


def by_neighbours(path: Path) -> float:
    session = open_session(path, device="cpu", threads=1)
    alone = [answer(session, {"code_points": row[None]}) for row in TEXTS_NL]
    return float(np.abs(np.concatenate(alone) - answer(session, {"code_points": TEXTS_NL})).max())


def float_bytes(path: Path) -> int:
    tensors = onnx.load(path).graph.initializer
    return sum(len(tensor.raw_data) for tensor in tensors if tensor.data_type == onnx.TensorProto.FLOAT)


def test_8_bit_weights_hold_for_embeddings_and_recurrent_layers(source: Path, tmp_path: Path) -> None:
    facts = round_weights_to_8_bits(source, tmp_path / "int8.onnx")

    assert float_bytes(tmp_path / "int8.onnx") < 0.1 * float_bytes(source)
    assert difference(source, tmp_path / "int8.onnx") < 0.02
    assert by_neighbours(tmp_path / "int8.onnx") < 1e-5
    assert (facts.layers, facts.size_only, facts.rows) == (3, True, None)


def test_16_bit_floats_halve_embeddings_and_recurrent_layers(source: Path, tmp_path: Path) -> None:
    halve(source, tmp_path / "fp16.onnx", kind="fp16")

    assert float_bytes(tmp_path / "fp16.onnx") < 0.1 * float_bytes(source)
    assert difference(source, tmp_path / "fp16.onnx") < 1e-2


def test_rows_leave_until_the_file_has_its_size(source: Path, tmp_path: Path) -> None:
    round_weights_to_8_bits(source, tmp_path / "int8.onnx")
    most = (tmp_path / "int8.onnx").stat().st_size - 6_000

    facts = round_weights_to_8_bits(source, tmp_path / "small.onnx", most_bytes=most)

    assert most - 3_000 < (tmp_path / "small.onnx").stat().st_size + STAMP_BYTES <= most
    assert facts.rows is not None
    assert facts.rows_kept is not None
    assert 0.5 * facts.rows < facts.rows_kept < facts.rows
    assert by_neighbours(tmp_path / "small.onnx") < 1e-5


def test_a_size_that_no_file_of_the_net_has_is_refused_with_the_smallest(source: Path, tmp_path: Path) -> None:
    with pytest.raises(QuantizationImpossible, match="the smallest file of this net has"):
        round_weights_to_8_bits(source, tmp_path / "small.onnx", most_bytes=10_000)


def test_an_lstm_is_quantised_dynamically_and_its_answers_depend_on_neighbours(source: Path, tmp_path: Path) -> None:
    facts = quantize_dynamic(source, tmp_path / "dynamic.onnx", part=DynamicInt8())

    kinds = {node.op_type for node in onnx.load(tmp_path / "dynamic.onnx").graph.node}
    assert kinds & {"DynamicQuantizeLSTM", "GRU", "LSTM"} == {"DynamicQuantizeLSTM" if source.stem == "lstm" else "GRU"}
    assert difference(source, tmp_path / "dynamic.onnx") < 0.1
    assert by_neighbours(tmp_path / "dynamic.onnx") > 1e-5
    assert len(facts.float_layers or []) == (0 if source.stem == "lstm" else 1)
