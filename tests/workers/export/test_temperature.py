"""A temperature in the exported graph: it divides the logits there as it does beside the net, and int8 inherits it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from models_store.spec.quantization import StaticInt8
from tests.workers.colour_nets import CARD, CODEC, LABELS, SIZE, a_learned_net, leaves
from workers.compression.quantization.calibration import CalibrationExamples
from workers.compression.quantization.static import quantize_static
from workers.evaluation.calibration import activate, fit_temperature
from workers.export.graph import export
from workers.export.sessions import open_session
from workers.export.verify import verify
from workers.tasks.image.served import served

TEMPERATURE = 2.5


def logits(images_NHWC: np.ndarray) -> np.ndarray:
    net = a_learned_net()
    with torch.no_grad():
        return net(net.prepare({"images": torch.from_numpy(images_NHWC)}, None)).numpy()


def answers(path: Path, images_NHWC: np.ndarray) -> np.ndarray:
    return open_session(path, device="cpu", threads=1).run(["probabilities"], {"images": images_NHWC})[0]


@pytest.fixture(scope="module")
def tempered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net, path = a_learned_net(), tmp_path_factory.mktemp("tempered") / "fp32.onnx"
    export(
        served(net, mean=net.mean, std=net.std, size=SIZE, temperature=TEMPERATURE),
        opset=20,
        labels=LABELS,
        card=CARD,
        path=path,
    )
    return path


def test_the_file_answers_as_the_net_does_at_that_temperature(tempered: Path) -> None:
    images_NHWC = leaves().images_NHWC[:24]

    served_NK = answers(tempered, images_NHWC)

    expected_NK = activate(logits(images_NHWC), activation="softmax", temperature=TEMPERATURE)
    np.testing.assert_allclose(served_NK, expected_NK, atol=1e-5)
    assert np.abs(served_NK - activate(logits(images_NHWC), activation="softmax")).max() > 0.01


def test_it_agrees_with_the_net_only_at_that_temperature(tempered: Path) -> None:
    data = leaves()

    def at(temperature: float) -> float:
        return verify(
            tempered,
            files=[data.files[row] for row in data.val],
            rows=data.val,
            predict=lambda rows: activate(
                logits(data.images_NHWC[rows]), activation="softmax", temperature=temperature
            ),
            codec=CODEC,
        ).max_difference

    assert at(TEMPERATURE) < 1e-5
    assert at(1.0) > 0.01


def test_without_one_the_graph_has_no_division_more(tempered: Path, exported: Path) -> None:
    def divisions(path: Path) -> int:
        return sum(node.op_type == "Div" for node in onnx.load(path).graph.node)

    assert divisions(tempered) == divisions(exported) + 1


def test_the_int8_variant_inherits_it(tempered: Path, tmp_path: Path) -> None:
    data, path = leaves(), tmp_path / "int8.onnx"

    quantize_static(
        tempered, path, part=StaticInt8(), examples=CalibrationExamples({"images": data.images_NHWC}, data.train)
    )

    images_NHWC = data.images_NHWC[data.val]
    np.testing.assert_allclose(answers(path, images_NHWC), answers(tempered, images_NHWC), atol=0.05)


def test_the_temperature_fitted_on_logits_is_the_best_one_for_the_file() -> None:
    data = leaves()
    noisy_N = np.where(np.arange(len(data.val)) % 5 == 0, (data.labels_N[data.val] + 1) % 3, data.labels_N[data.val])
    logits_NK = logits(data.images_NHWC[data.val])

    best = fit_temperature(logits_NK, noisy_N, activation="softmax").value

    def loss_at(temperature: float) -> float:
        probabilities_NK = activate(logits_NK, activation="softmax", temperature=temperature)
        return float(-np.log(probabilities_NK[np.arange(len(noisy_N)), noisy_N]).mean())

    assert loss_at(best) < min(loss_at(best * 1.1), loss_at(best / 1.1))
