"""Files of texts in fewer bits: what their graphs have of layers differs from kind to kind."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from models_store.spec.quantization import WeightsInt4
from tests.workers.tasks.text.text_nets import a_text_net, a_text_spec, exported, some_texts
from workers.compression.quantization.failures import QuantizationImpossible
from workers.compression.quantization.floats import halve
from workers.compression.quantization.weights import round_weights_to_4_bits, round_weights_to_8_bits
from workers.export.sessions import answer, open_session

TEXTS_NL = some_texts([30, 64, 1, 12])
OF_NGRAMS: dict[str, dict[str, Any]] = {
    "tfidf_linear": {"ngrams": [1, 2], "min_count": 1},
    "nb_linear": {"ngrams": [1, 2], "min_count": 1},
    "ngram_bag": {"ngrams": [1, 2], "min_count": 1, "embedding": 32},
    "ensemble": {"members": [{"kind": "tfidf_linear", "ngrams": [1]}, {"kind": "ngram_bag", "ngrams": [1]}]},
}
OF_TOKENS: dict[str, dict[str, Any]] = {
    "text_cnn": {"embedding": 32, "kernels": [2, 3], "filters": 8},
    "transformer": {"embedding": 32, "layers": 1, "heads": 2, "ffn": 32},
    "rnn": {"embedding": 32, "width": 16},
}


@pytest.fixture(scope="module", params=[*OF_NGRAMS, *OF_TOKENS])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind = request.param
    spec = a_text_spec(backbone={"kind": kind} | (OF_NGRAMS | OF_TOKENS)[kind])
    net, generator = a_text_net(spec), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in net.parameters():
            if weight.ndim > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) / weight.shape[-1] ** 0.5)
    return exported(net, spec, tmp_path_factory.mktemp("source") / f"{kind}.onnx")


def answers(path: Path) -> tuple[np.ndarray[Any, Any], float]:
    """Return what a file answers, and by how much that depends on the neighbours."""
    session = open_session(path, device="cpu", threads=1)
    together = answer(session, {"code_points": TEXTS_NL})
    alone = np.concatenate([answer(session, {"code_points": row[None]}) for row in TEXTS_NL])
    return together, float(np.abs(alone - together).max())


def test_8_bit_weights_load_and_answer_alone_as_in_a_batch(source: Path, tmp_path: Path) -> None:
    round_weights_to_8_bits(source, tmp_path / "int8.onnx")

    rounded, by_neighbours = answers(tmp_path / "int8.onnx")
    assert np.abs(rounded - answers(source)[0]).max() < 0.05
    assert by_neighbours < 1e-5
    kinds = {tensor.data_type for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in kinds


def test_16_bit_floats_load_and_answer_alone_as_in_a_batch(source: Path, tmp_path: Path) -> None:
    halve(source, tmp_path / "fp16.onnx", kind="fp16")

    rounded, by_neighbours = answers(tmp_path / "fp16.onnx")
    assert np.abs(rounded - answers(source)[0]).max() < 0.02
    assert by_neighbours < 5e-3
    kinds = {tensor.data_type for tensor in onnx.load(tmp_path / "fp16.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds


def test_a_net_without_linear_layers_is_refused_4_bits(tmp_path: Path) -> None:
    spec = a_text_spec(backbone={"kind": "tfidf_linear"} | OF_NGRAMS["tfidf_linear"])
    source = exported(a_text_net(spec), spec, tmp_path / "source.onnx")

    with pytest.raises(QuantizationImpossible, match="4-bit weights are for linear layers"):
        round_weights_to_4_bits(source, tmp_path / "int4.onnx", part=WeightsInt4())
