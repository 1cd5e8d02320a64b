import hashlib
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models_store.spec.backbone import EfficientNetLite0, MobileNetV2, ResNet18, SmallCnn, Vgg16
from models_store.spec.part import Part
from workers.image import backbones, weights
from workers.image.weights import WeightsUnavailable, WeightsUnfit

NOWHERE = "http://127.0.0.1:9/resnet18-00000000.pth"  # the discard port: nobody listens


def build(part: Part, *, channels: int = 3, weights_dir: Path = Path("unused"), size: int = 32) -> backbones.Backbone:
    return backbones.build(part, size=size, channels=channels, weights_dir=weights_dir)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [SmallCnn, ResNet18, MobileNetV2, EfficientNetLite0])
def test_a_backbone_from_scratch_gives_the_features_it_promises(kind: type[Part], channels: int) -> None:
    part = SmallCnn() if kind is SmallCnn else kind.model_validate({"weights": None})

    backbone = build(part, channels=channels)

    assert backbone.net.eval()(torch.rand(2, channels, 32, 32)).shape == (2, backbone.feature_count)


@pytest.mark.slow
def test_vgg16_from_scratch_gives_the_features_it_promises() -> None:
    backbone = build(Vgg16(weights=None))

    assert backbone.net.eval()(torch.rand(1, 3, 32, 32)).shape == (1, backbone.feature_count)


@pytest.mark.parametrize("size", [16, 28, 64, 100, 256])
def test_the_small_cnn_takes_any_size_without_growing_out_of_hand(size: int) -> None:
    net = build(SmallCnn(), size=size).net

    assert net.eval()(torch.rand(1, 3, size, size)).shape == (1, 512)
    assert sum(parameter.numel() for parameter in net.parameters()) < 20_000_000


def test_lite0_brings_its_imagenet_weights_in_a_wheel(tmp_path: Path) -> None:
    with_weights = build(EfficientNetLite0(), weights_dir=tmp_path).net.eval()
    again = build(EfficientNetLite0(), weights_dir=tmp_path).net.eval()

    images_BCHW = torch.rand(2, 3, 64, 64)

    assert torch.equal(with_weights(images_BCHW), again(images_BCHW))
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_weights_folder_wins_and_half_precision_is_cast_up(tmp_path: Path) -> None:
    source = build(ResNet18(weights=None)).net
    state = {name: value.half() if value.ndim > 1 else value for name, value in source.state_dict().items()}
    save_file(state | {"fc.weight": torch.zeros(1000, 512)}, tmp_path / "resnet18.torchvision.safetensors")

    loaded = build(ResNet18(), weights_dir=tmp_path).net

    assert torch.equal(loaded.conv1.weight, source.conv1.weight.half().float())
    assert loaded.conv1.weight.dtype == torch.float32


def test_a_file_that_does_not_fit_is_named_with_its_first_mismatch(tmp_path: Path) -> None:
    state = build(ResNet18(weights=None)).net.state_dict()
    save_file(state | {"conv1.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "my-resnet18.safetensors")

    with pytest.raises(WeightsUnfit, match=r"my-resnet18\.safetensors.*'conv1\.weight' as \(64, 3, 3, 3\)"):
        build(ResNet18(), weights_dir=tmp_path)


def test_a_file_that_lacks_a_layer_is_refused(tmp_path: Path) -> None:
    state = build(ResNet18(weights=None)).net.state_dict()
    del state["layer4.1.conv2.weight"]
    save_file(state, tmp_path / "resnet18.safetensors")

    with pytest.raises(WeightsUnfit, match=r"lacks 'layer4\.1\.conv2\.weight'"):
        build(ResNet18(), weights_dir=tmp_path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "resnet18.safetensors").write_bytes(b"not at all")

    with pytest.raises(WeightsUnfit, match="can't be read"):
        build(ResNet18(), weights_dir=tmp_path)


def test_weights_that_can_not_be_had_say_how_to_provide_them(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="WEIGHTS_DIR") as caught:
        weights.load(nn.Linear(2, 2), "resnet18", folder=tmp_path, url=NOWHERE, classifier="fc.")

    assert caught.value.code == "weights_unavailable"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def published() -> Iterator[tuple[str, nn.Linear]]:
    """A publisher on this machine: the address of a net's weights, with their hash in the name, and the net."""
    net = nn.Linear(2, 2)
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    content = buffer.getvalue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/tiny-{hashlib.sha256(content).hexdigest()[:8]}.pth", net
    server.shutdown()
    server.server_close()


def test_a_download_is_kept_and_read_without_the_publisher_the_next_time(
    tmp_path: Path, published: tuple[str, nn.Linear]
) -> None:
    url, source = published
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)

    weights.load(first, "tiny", folder=tmp_path, url=url, classifier="fc.")
    weights.load(second, "tiny", folder=tmp_path, url="http://127.0.0.1:9/" + url.rpartition("/")[2], classifier="fc.")

    assert torch.equal(first.weight, source.weight)
    assert torch.equal(second.weight, source.weight)


def test_a_download_whose_hash_is_wrong_is_thrown_away(tmp_path: Path, published: tuple[str, nn.Linear]) -> None:
    url = published[0].rpartition("-")[0] + "-00000000.pth"

    with pytest.raises(WeightsUnavailable, match="damaged"):
        weights.load(nn.Linear(2, 2), "tiny", folder=tmp_path, url=url, classifier="fc.")

    assert list(tmp_path.iterdir()) == []
