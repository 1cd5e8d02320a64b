import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.workers.colour_nets import CARD, LABELS, a_learned_net, a_net, export_net, leaves, torch_probabilities
from workers.export import graph
from workers.export.sessions import open_session


def answers(path: Path, images_NHWC: np.ndarray) -> np.ndarray:
    return open_session(path, device="cpu", threads=1).run(["probabilities"], {"images": images_NHWC})[0]


def noise(count: int, size: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def awakened(net: torch.nn.Module) -> torch.nn.Module:
    """Give an untrained net's norms statistics and its classes contrast, so that parity on it proves something."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    net.head.classes.weight.data.normal_(0, 1)
    return net


@pytest.mark.parametrize("count", [1, 5])
def test_the_file_takes_raw_pixels_in_any_number_and_answers_as_the_net_does(exported: Path, count: int) -> None:
    images_NHWC = leaves().images_NHWC[:count]

    served_NK = answers(exported, images_NHWC)

    assert served_NK.shape == (count, 3)
    np.testing.assert_allclose(served_NK, torch_probabilities(a_learned_net(), images_NHWC), atol=1e-5)


def test_the_file_names_its_input_and_output_and_holds_its_weights(exported: Path) -> None:
    model = onnx.load(exported, load_external_data=False)

    given, answer = model.graph.input[0], model.graph.output[0]
    assert (given.name, given.type.tensor_type.elem_type) == ("images", onnx.TensorProto.UINT8)
    assert [d.dim_param or d.dim_value for d in given.type.tensor_type.shape.dim] == ["N", 32, 32, 3]
    assert (answer.name, answer.type.tensor_type.elem_type) == ("probabilities", onnx.TensorProto.FLOAT)
    assert not any(weight.external_data for weight in model.graph.initializer)


def test_labels_and_card_travel_in_the_file(exported: Path) -> None:
    properties = {entry.key: json.loads(entry.value) for entry in onnx.load(exported).metadata_props}

    assert properties == {"espalier.labels": LABELS, "espalier.card": CARD}


def test_the_file_says_nothing_of_the_machine_that_made_it(exported: Path) -> None:
    content = exported.read_bytes()

    assert str(Path.cwd()).encode() not in content
    assert b".py" not in content


def test_the_same_weights_give_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    again = export_net(a_learned_net(), tmp_path / "again.onnx")

    assert again.read_bytes() == exported.read_bytes()


def test_export_leaves_the_net_as_it_was_and_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    net = a_learned_net().train()
    net.head.eval()

    export_net(net, tmp_path / "net.onnx")

    assert net.training
    assert net.backbone.training
    assert not net.head.training
    assert capfd.readouterr() == ("", "")
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.onnx"]


def test_a_grey_net_is_exported_with_one_channel(tmp_path: Path) -> None:
    from tests.samples import a_train_spec  # noqa: PLC0415
    from workers.tasks.image.net import build  # noqa: PLC0415

    net = awakened(build(a_train_spec(input={"size": 32, "channels": 1}), class_count=3, weights_dir=tmp_path).eval())
    images_NHWC = noise(3, 32, 1)

    served_NK = answers(export_net(net, tmp_path / "grey.onnx"), images_NHWC)

    np.testing.assert_allclose(served_NK, torch_probabilities(net, images_NHWC), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["resnet18", "mobilenet_v2", "efficientnet_lite0"])
def test_every_backbone_answers_the_same_from_its_file(kind: str, tmp_path: Path) -> None:
    net = awakened(a_net(kind, size=64))
    images_NHWC = noise(3, 64)

    path = export_net(net, tmp_path / "net.onnx", size=64)

    expected_NK = torch_probabilities(net, images_NHWC)
    assert np.ptp(expected_NK) > 0.05
    np.testing.assert_allclose(answers(path, images_NHWC), expected_NK, atol=1e-4)
    assert not {"Shape", "Range", "Gather"} & {node.op_type for node in onnx.load(path).graph.node}


def test_weights_that_pass_one_files_limit_are_refused_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "PROTOBUF_LIMIT_BYTES", 1000)

    with pytest.raises(graph.ModelTooLarge, match="hidden_sizes"):
        export_net(a_net(), tmp_path / "net.onnx")

    assert list(tmp_path.iterdir()) == []
