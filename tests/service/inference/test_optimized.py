"""Graphs as onnxruntime optimised them: kept, used, never trusted blindly, and never a different answer."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from service.inference import devices, optimized
from tests.samples import quick_settings
from tests.service.live_service import a_plain_image, running
from tests.service.onnx_files import write_colour_net

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


def write_convolution(path: Path, *, seed: int = 0) -> Path:
    """Write a net that onnxruntime has much to do with: layouts, a batch norm to fold, an activation to fuse."""
    random = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernels"], ["convolved"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["convolved", "gain", "bias", "mean", "variance"], ["normed"]),
        helper.make_node("Relu", ["normed"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Softmax", ["features"], ["probabilities"]),
    ]
    weights = {
        "kernels": random.normal(0, 0.01, (32, 3, 3, 3)),
        **{name: random.uniform(0.5, 1.5, 32) for name in ("gain", "bias", "mean", "variance")},
    }
    graph = helper.make_graph(
        nodes,
        "convolution",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 16, 16, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 32])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    )
    return path


class Host:
    """A folder of optimised graphs, and how often a model's own file was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fetched = 0

    def answers(self, model: Path, *, digest: str = "a" * 64) -> np.ndarray:
        def fetch() -> Path:
            self.fetched += 1
            return model

        session = optimized.open_model(digest, fetch, folder=self.folder, provider=devices.CPU, threads=1)
        return session.run(["probabilities"], {"images": IMAGES})[0]

    @property
    def kept(self) -> list[Path]:
        return sorted(self.folder.iterdir())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "work" / "optimized")


def plain_answers(model: Path) -> np.ndarray:
    session = devices.open_session(model, provider=devices.CPU, threads=1)
    return session.run(["probabilities"], {"images": IMAGES})[0]


def test_the_second_load_takes_the_optimised_graph_and_answers_bit_for_bit_alike(host: Host, tmp_path: Path) -> None:
    model = write_convolution(tmp_path / "net.onnx")

    first, second = host.answers(model), host.answers(model)

    assert host.fetched == 1
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(host.kept[0]).graph.node}
    np.testing.assert_array_equal(first, plain_answers(model))
    np.testing.assert_array_equal(second, first)


@pytest.mark.parametrize("damage", [lambda data: data[:-10], lambda data: b"\x00" * len(data), lambda _: b""])
def test_a_damaged_graph_is_dropped_and_made_again(
    host: Host, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    model = write_convolution(tmp_path / "net.onnx")
    expected = host.answers(model)
    whole = host.kept[0].read_bytes()
    host.kept[0].write_bytes(damage(whole))

    again = host.answers(model)

    np.testing.assert_array_equal(again, expected)
    assert [each.read_bytes() for each in host.kept] == [whole]
    assert host.fetched == 2


def test_a_graph_that_is_whole_and_no_model_is_dropped_too(host: Host, tmp_path: Path) -> None:
    model = write_convolution(tmp_path / "net.onnx")
    host.answers(model)
    name = host.kept[0].name.partition("-")[0]
    host.kept[0].unlink()
    (host.folder / f"{name}-00000000.onnx").write_bytes(b"")  # the checksum of nothing is nought

    np.testing.assert_array_equal(host.answers(model), plain_answers(model))

    assert [each.stat().st_size > 0 for each in host.kept] == [True]


def test_a_folder_that_cant_be_written_stops_no_model(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    host = Host(tmp_path / "file" / "optimized")
    model = write_convolution(tmp_path / "net.onnx")

    answers = [host.answers(model) for _ in range(2)]

    np.testing.assert_array_equal(answers[0], answers[1])
    assert host.fetched == 2


def test_another_version_of_onnxruntime_makes_its_own(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_convolution(tmp_path / "net.onnx")
    host.answers(model)

    monkeypatch.setattr(devices.runtime(), "__version__", "99.0.0")
    host.answers(model)

    assert (host.fetched, len(host.kept)) == (2, 2)


def test_the_least_recently_used_graphs_leave_first(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [write_convolution(tmp_path / f"{seed}.onnx", seed=seed) for seed in range(3)]
    host.answers(models[0], digest="0" * 64)
    monkeypatch.setattr(optimized, "MOST_BYTES", int(2.5 * host.kept[0].stat().st_size))

    for number in (1, 0, 2):
        host.answers(models[number], digest=str(number) * 64)
    fetched = host.fetched
    host.answers(models[0], digest="0" * 64)

    assert (fetched, host.fetched) == (3, 3)
    assert len(host.kept) == 2


def test_a_file_that_is_no_model_is_an_error_and_leaves_nothing(host: Host, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no model")

    with pytest.raises(Exception, match=r"(?i)protobuf"):
        host.answers(tmp_path / "net.onnx")

    assert host.kept == []


def test_a_service_that_starts_again_serves_the_kept_graph(tmp_path: Path) -> None:
    settings = quick_settings(tmp_path / "home")
    answers = []
    for first in (True, False):
        with running(settings) as service:
            if first:
                service.publish("leaves", write_colour_net(tmp_path / "net.onnx"))
            raw = {"params": {"model": "leaves"}, "headers": {"Content-Type": "image/png"}}
            answers.append(service.http.post("/predict", content=a_plain_image((9, 200, 9)), **raw).json())
        kept = list((settings.scratch / "optimized").iterdir())

    assert len(kept) == 1
    assert answers[0] == answers[1]
    assert answers[0]["predictions"][0]["label"] == "green"
