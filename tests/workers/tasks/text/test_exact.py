"""Exact explanations of the files of linear nets: their weights and the bias are the logits."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from models_store.tasks.explanation import CONTRIBUTIONS
from models_store.tasks.text.codec import TextCodec
from tests.workers.tasks.text.ngram_nets import TEXTS, examples_of, net_of, spec_of, with_weights
from tests.workers.tasks.text.text_nets import exported
from workers.compression.quantization.floats import halve
from workers.tasks.text.augmentations.letters import codes_of

LINEAR = ("tfidf_linear", "nb_linear", "words alone", "no words", "characters")


def a_net(name: str, **given: Any) -> tuple[Any, Any]:
    spec = spec_of(name, **given)
    net = with_weights(net_of(spec))
    with torch.no_grad():
        for key, weight in net.named_parameters():
            if key.endswith("bias"):
                weight.copy_(torch.tensor([0.75, -0.5]))
    return spec, net


def weights_of(path: Path, spec: Any, text: str, *, output: int) -> list[dict[str, Any]]:
    codec = TextCodec(64, "end", examples_of(spec).tokenizer)
    own = codec.self_explaining(path)
    assert own is not None
    assert own.method == "exact"
    session = onnxruntime.InferenceSession(own.graph, providers=["CPUExecutionProvider"])
    decoded = codec.decode(text)
    (added_NKG,) = session.run([CONTRIBUTIONS], codec.collate([decoded]))
    found: list[dict[str, Any]] = own.show(decoded, added_NKG[0, output].astype(np.float64))["weights"]
    return found


@pytest.mark.parametrize("name", LINEAR)
def test_weights_and_bias_are_the_logits_of_the_net(name: str, tmp_path: Path) -> None:
    spec, net = a_net(name)
    path = exported(net, spec, tmp_path / "net.onnx")
    bias = {key: weight for key, weight in net.named_parameters() if key.endswith("bias")}
    (bias_K,) = (weight.detach().numpy() for weight in bias.values())

    for text in TEXTS:
        with torch.no_grad():
            logits_K = net(torch.from_numpy(codes_of([text[:64]])))[0].numpy()
        for output in (0, 1):
            weights = weights_of(path, spec, text, output=output)
            total = sum(each["weight"] for each in weights) + bias_K[output]
            assert total == pytest.approx(logits_K[output], abs=1e-4), text
            assert "".join(each["text"] for each in weights) == text[:64]


def test_only_the_words_that_are_known_weigh(tmp_path: Path) -> None:
    spec, net = a_net("words alone")
    path = exported(net, spec, tmp_path / "net.onnx")

    weights = {each["text"].strip(): each["weight"] for each in weights_of(path, spec, "good unheard 房间", output=0)}

    assert weights["unheard"] == 0
    assert weights["good"] != 0


def test_a_file_of_half_the_bits_explains_itself_too(tmp_path: Path) -> None:
    spec, net = a_net("nb_linear")
    path = exported(net, spec, tmp_path / "net.onnx")
    halve(path, tmp_path / "fp16.onnx", kind="fp16")

    whole = weights_of(path, spec, TEXTS[0], output=0)
    half = weights_of(tmp_path / "fp16.onnx", spec, TEXTS[0], output=0)

    np.testing.assert_allclose(
        [each["weight"] for each in half], [each["weight"] for each in whole], atol=0.01 * len(TEXTS[0])
    )


@pytest.mark.parametrize("name", ["ngram_bag", "ensemble with a net"])
def test_other_nets_are_explained_by_leaving_out(name: str, tmp_path: Path) -> None:
    spec = spec_of(name)
    net = with_weights(net_of(spec))
    codec = TextCodec(64, "end", examples_of(spec).tokenizer)

    assert codec.self_explaining(exported(net, spec, tmp_path / "net.onnx")) is None
