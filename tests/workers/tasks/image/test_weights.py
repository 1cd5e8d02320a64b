import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from models_store.errors import StorageFull
from models_store.tasks.image.backbones.network import Network
from models_store.tasks.image.backbones.timm_nets import EfficientNetLite0, EfficientNetLite2, Timm
from models_store.tasks.image.backbones.torchvision_nets import ResNet18
from tests.small_disks import small_disk
from workers.tasks.image import backbones, weights
from workers.tasks.image.weights import Published, WeightsUnavailable
from workers.training.stored_weights import WeightsUnfit

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


def build(part: Network, *, channels: int = 3, weights_dir: Path = Path("unused"), size: int = 32) -> nn.Module:
    return backbones.build(part, size=size, channels=channels, weights_dir=weights_dir).net


@pytest.mark.parametrize("part", [EfficientNetLite0(), EfficientNetLite2()])
def test_the_lite_nets_bring_their_imagenet_weights_in_wheels(part: Network, tmp_path: Path) -> None:
    with_weights = build(part, weights_dir=tmp_path).eval()
    again = build(part, weights_dir=tmp_path).eval()

    images_BCHW = torch.rand(2, 3, 64, 64)

    assert torch.equal(with_weights(images_BCHW), again(images_BCHW))
    assert list(tmp_path.iterdir()) == []


def test_grey_images_give_the_features_of_their_grey_in_all_three_colours(tmp_path: Path) -> None:
    grey_B1HW = torch.randn(2, 1, 64, 64)

    features_BF = build(EfficientNetLite0(), channels=1, weights_dir=tmp_path).eval()(grey_B1HW)

    in_colour_BF = build(EfficientNetLite0(), weights_dir=tmp_path).eval()(grey_B1HW.expand(-1, 3, -1, -1))
    assert torch.allclose(features_BF, in_colour_BF, atol=1e-4)


def test_an_alpha_channel_changes_nothing_before_it_is_trained(tmp_path: Path) -> None:
    images_BCHW = torch.randn(2, 4, 64, 64)

    features_BF = build(EfficientNetLite0(), channels=4, weights_dir=tmp_path).eval()(images_BCHW)

    in_colour_BF = build(EfficientNetLite0(), weights_dir=tmp_path).eval()(images_BCHW[:, :3])
    assert torch.allclose(features_BF, in_colour_BF, atol=1e-4)


@pytest.mark.parametrize(("given", "wanted"), [(1, 3), (1, 4), (3, 1), (3, 4), (4, 1), (4, 3)])
def test_a_first_convolution_answers_a_grey_opaque_image_alike_in_any_channels(given: int, wanted: int) -> None:
    grey_B1HW = torch.rand(1, 1, 8, 8)
    source, target = nn.Conv2d(given, 5, 3), nn.Conv2d(wanted, 5, 3)
    nn.init.zeros_(source.weight[:, 3:].detach())

    adapted_OCHW = weights.adapt(source.weight.detach(), target.weight)

    answer = nn.functional.conv2d(grey_B1HW.expand(-1, given, -1, -1), source.weight)
    same = nn.functional.conv2d(grey_B1HW.expand(-1, wanted, -1, -1), adapted_OCHW)
    assert torch.allclose(answer, same, atol=1e-5)


def test_positions_of_a_vision_transformer_are_interpolated_to_another_size(tmp_path: Path) -> None:
    source = build(Timm(kind="timm:vit_tiny_patch16_224", weights=None), size=32)
    save_file(source.state_dict(), tmp_path / "vit_tiny_patch16_224.safetensors")

    larger = build(Timm(kind="timm:vit_tiny_patch16_224"), weights_dir=tmp_path, size=64)

    positions_1PF = larger.get_parameter("pos_embed")
    assert positions_1PF.shape == (1, 1 + 4 * 4, 192)
    assert torch.equal(positions_1PF[:, 0], source.get_parameter("pos_embed")[:, 0])
    assert larger(torch.rand(1, 3, 64, 64)).shape == (1, 192)


def test_of_several_kinds_in_a_files_name_the_longest_counts(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "cifar_resnet18.safetensors")
    source = build(ResNet18(weights=None))
    save_file(source.state_dict(), tmp_path / "my-resnet18.safetensors")

    loaded = build(ResNet18(), weights_dir=tmp_path)

    assert torch.equal(loaded.get_parameter("conv1.weight"), source.get_parameter("conv1.weight"))


def test_a_file_in_the_weights_folder_wins_and_half_precision_is_cast_up(tmp_path: Path) -> None:
    source = build(ResNet18(weights=None))
    state = {name: value.half() if value.ndim > 1 else value for name, value in source.state_dict().items()}
    save_file(state | {"fc.weight": torch.zeros(1000, 512)}, tmp_path / "resnet18.torchvision.safetensors")

    loaded = build(ResNet18(), weights_dir=tmp_path)

    assert torch.equal(loaded.get_parameter("conv1.weight"), source.get_parameter("conv1.weight").half().float())
    assert loaded.get_parameter("conv1.weight").dtype == torch.float32


def test_a_file_that_does_not_fit_is_named_with_its_first_mismatch(tmp_path: Path) -> None:
    state = build(ResNet18(weights=None)).state_dict()
    save_file(state | {"conv1.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "my-resnet18.safetensors")

    with pytest.raises(WeightsUnfit, match=r"my-resnet18\.safetensors.*'conv1\.weight' as \(64, 3, 3, 3\)"):
        build(ResNet18(), weights_dir=tmp_path)


def test_a_file_that_lacks_a_layer_is_refused(tmp_path: Path) -> None:
    state = build(ResNet18(weights=None)).state_dict()
    del state["layer4.1.conv2.weight"]
    save_file(state, tmp_path / "resnet18.safetensors")

    with pytest.raises(WeightsUnfit, match=r"lacks 'layer4\.1\.conv2\.weight'"):
        build(ResNet18(), weights_dir=tmp_path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "resnet18.safetensors").write_bytes(b"not at all")

    with pytest.raises(WeightsUnfit, match=r"^resnet18\.safetensors can't be read") as caught:
        build(ResNet18(), weights_dir=tmp_path)

    assert str(tmp_path) not in caught.value.detail


def test_weights_that_can_not_be_had_say_how_to_provide_them(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="WEIGHTS_DIR") as caught:
        weights.load(
            nn.Linear(2, 2),
            "resnet18",
            folder=tmp_path,
            published=Published(url=f"{NOWHERE}/resnet18-00000000.pth"),
            classifier="fc.",
        )

    assert caught.value.code == "weights_unavailable"
    assert str(tmp_path) not in caught.value.detail
    assert list(tmp_path.iterdir()) == []


@dataclass(frozen=True)
class Publisher:
    """A publisher on this machine: its address, the net that it publishes, and the hash in the file's name."""

    address: str
    net: nn.Linear
    digits: str


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """A server that answers every path ending in .pth with a pickled net, others with its safetensors file."""
    net = nn.Linear(2, 2)
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.wfile.write(self.answer())

        def answer(self) -> bytes:
            content = buffer.getvalue() if self.path.endswith(".pth") else save(net.state_dict())
            self.send_response(404 if self.path.startswith("/missing") else 200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()
            return content

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    digits = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    yield Publisher(f"http://127.0.0.1:{server.server_port}", net, digits)
    server.shutdown()
    server.server_close()


def load_tiny(folder: Path, published: Published) -> nn.Linear:
    net = nn.Linear(2, 2)
    weights.load(net, "timm:tiny", folder=folder, published=published, classifier="fc.")
    return net


def test_a_download_is_kept_and_read_without_the_publisher_the_next_time(tmp_path: Path, publisher: Publisher) -> None:
    file = f"tiny-{publisher.digits}.pth"

    first = load_tiny(tmp_path, Published(url=f"{publisher.address}/{file}"))
    second = load_tiny(tmp_path, Published(url=f"{NOWHERE}/{file}"))

    assert torch.equal(first.weight, publisher.net.weight)
    assert torch.equal(second.weight, publisher.net.weight)


def test_a_download_whose_hash_is_wrong_is_thrown_away(tmp_path: Path, publisher: Publisher) -> None:
    with pytest.raises(WeightsUnavailable, match="damaged"):
        load_tiny(tmp_path, Published(url=f"{publisher.address}/tiny-00000000.pth"))

    assert list(tmp_path.iterdir()) == []


def test_a_file_of_the_hub_is_kept_and_read_without_the_hub_the_next_time(
    tmp_path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE"
    monkeypatch.setattr(template, publisher.address + "/{repo_id}/{revision}/{filename}")
    first = load_tiny(tmp_path, Published(hub="timm/tiny.in1k"))
    monkeypatch.setattr(template, NOWHERE + "/{repo_id}/{revision}/{filename}")

    second = load_tiny(tmp_path, Published(hub="timm/tiny.in1k"))

    assert torch.equal(first.weight, publisher.net.weight)
    assert torch.equal(second.weight, publisher.net.weight)


def test_a_hub_without_the_file_says_how_to_provide_it(
    tmp_path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE"
    monkeypatch.setattr(template, publisher.address + "/missing/{repo_id}/{revision}/{filename}")

    with pytest.raises(WeightsUnavailable, match="'tiny' in its name into the worker's WEIGHTS_DIR"):
        load_tiny(tmp_path, Published(hub="timm/tiny.in1k"))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["url", "hub"])
def test_a_full_disk_is_not_taken_for_an_unreachable_publisher(
    tmp_path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    template = "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE"
    monkeypatch.setattr(template, publisher.address + "/{repo_id}/{revision}/{filename}")
    file = f"{publisher.address}/tiny-{publisher.digits}.pth"
    published = Published(url=file) if source == "url" else Published(hub="timm/tiny.in1k")

    with small_disk(tmp_path / "small", size_mb=1) as small:
        small.fill()
        with pytest.raises(StorageFull, match="no room left on the disk for the weights of timm:tiny"):
            load_tiny(small.folder, published)

        assert small.files == []
