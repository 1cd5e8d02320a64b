"""The any-size file's pixels beside those of `pixels.decode`: the fixed part is a graph that answers its pixels."""

import io
import json
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from models_store.tasks.image import codec
from models_store.tasks.image.input import Input
from tests.workers.colour_nets import DECODING, LABELS, SIZE, a_learned_net, export_net, leaves
from workers.export import metadata
from workers.export.sessions import open_session
from workers.tasks.image import any_size

SHAPES = [(60, 97), (97, 60), (61, 61), (33, 200), (200, 34), (32, 32), (32, 34), (20, 20), (21, 25), (1, 1), (1, 90)]
"""width and height: wide, tall, square, odd and even numbers apart, larger and smaller than the net's input"""


def echo(path: Path, *, channels: int = 3, opset: int = 20) -> Path:
    """Write a fixed-size file that answers the very pixels that it was given."""
    graph = helper.make_graph(
        [helper.make_node("Cast", ["images"], ["probabilities"], to=TensorProto.FLOAT)],
        "echo",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", SIZE, SIZE, channels])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", SIZE, SIZE, channels])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    metadata.write(model, {metadata.LABELS_KEY: LABELS, metadata.CARD_KEY: {"form": "fp32", "task": "echo"}})
    path.write_bytes(model.SerializeToString())
    return path


def a_picture(width: int, height: int, *, channels: int = 3) -> Image.Image:
    """Return smooth colours with edges and a little noise, as photographs have them."""
    random = np.random.default_rng(width * 1000 + height)
    planes = [Image.fromarray(random.integers(0, 256, (5, 5), dtype=np.uint8)) for _ in range(channels)]
    smooth_HWC = np.stack([np.asarray(plane.resize((width, height))) for plane in planes], axis=2)
    picture_HWC = np.clip(smooth_HWC + random.normal(0, 6, smooth_HWC.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(picture_HWC[:, :, 0] if channels == 1 else picture_HWC)


def a_file(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def resized(path: Path, data: bytes, *, channels: int = 3) -> np.ndarray:
    image_HWC = codec.decode_whole(data, channels=channels)
    return open_session(path, device="cpu", threads=1).run(None, {"images": image_HWC[None]})[0][0]


@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_its_pixels_are_those_of_serving(fit: Literal["crop", "stretch"], channels: int, tmp_path: Path) -> None:
    any_size.write_any_size(echo(tmp_path / "fixed.onnx", channels=channels), tmp_path / "any.onnx", fit=fit)

    for width, height in SHAPES:
        data = a_file(a_picture(width, height, channels=channels))

        expected_HWC = codec.decode(data, size=SIZE, channels=channels, fit=fit).astype(int)
        apart_HWC = np.abs(resized(tmp_path / "any.onnx", data, channels=channels) - expected_HWC)

        assert apart_HWC[2:-2, 2:-2].max() <= 2, (width, height)  # both round twice, across and down
        assert apart_HWC.mean() < 0.5, (width, height)


def test_a_small_image_with_an_odd_rest_is_half_a_pixel_off_and_no_more(tmp_path: Path) -> None:
    any_size.write_any_size(echo(tmp_path / "fixed.onnx"), tmp_path / "any.onnx", fit="crop")
    data = a_file(a_picture(33, 32))

    middle_HWC = resized(tmp_path / "any.onnx", data)
    picture_HWC = codec.decode_whole(data, channels=3)

    np.testing.assert_array_equal(middle_HWC, picture_HWC[:, :32])


def test_images_of_one_size_go_together(tmp_path: Path) -> None:
    any_size.write_any_size(echo(tmp_path / "fixed.onnx"), tmp_path / "any.onnx", fit="crop")
    images_NHWC = np.stack([np.asarray(a_picture(70, 50)), np.asarray(a_picture(70, 50).rotate(180))])
    session = open_session(tmp_path / "any.onnx", device="cpu", threads=1)

    together_NHWC = session.run(None, {"images": images_NHWC})[0]

    alone = [session.run(None, {"images": image_HWC[None]})[0][0] for image_HWC in images_NHWC]
    np.testing.assert_array_equal(together_NHWC, np.stack(alone))


def test_a_file_of_the_oldest_operators_is_brought_to_those_that_can_resize(tmp_path: Path) -> None:
    any_size.write_any_size(echo(tmp_path / "fixed.onnx", opset=18), tmp_path / "any.onnx", fit="crop")

    made = onnx.load(tmp_path / "any.onnx")

    assert [(each.domain, each.version) for each in made.opset_import] == [("", 19)]
    assert resized(tmp_path / "any.onnx", a_file(a_picture(70, 50))).shape == (SIZE, SIZE, 3)


def test_it_takes_any_height_and_width_and_says_what_it_is(tmp_path: Path) -> None:
    any_size.write_any_size(echo(tmp_path / "fixed.onnx"), tmp_path / "any.onnx", fit="crop")

    given = open_session(tmp_path / "any.onnx", device="cpu", threads=1)

    assert (given.get_inputs()[0].name, given.get_inputs()[0].shape) == ("images", ["N", "H", "W", 3])
    said = {key: json.loads(text) for key, text in given.get_modelmeta().custom_metadata_map.items()}
    assert said == {"espalier.labels": LABELS, "espalier.card": {"form": "any-size", "task": "echo"}}


def test_whole_files_get_the_answers_of_serving(tmp_path: Path) -> None:
    fixed = export_net(a_learned_net(), tmp_path / "fixed.onnx")
    any_size.write_any_size(fixed, tmp_path / "any.onnx", fit="crop")
    data = leaves()

    found = any_size.compare(
        tmp_path / "any.onnx",
        fixed=fixed,
        files=(data.files[index] for index in data.val),
        decoding=DECODING,
    )

    assert (found.images, found.agreement) == (len(data.val), 1.0)


def test_values_of_16_bits_are_scaled_alike_for_both(tmp_path: Path) -> None:
    fixed = export_net(a_learned_net(), tmp_path / "fixed.onnx")
    any_size.write_any_size(fixed, tmp_path / "any.onnx", fit="crop")
    values = np.add.outer(np.arange(60), np.arange(80)).astype(np.uint16) * 29  # of 12 bits

    def outputs_differ(white_level: int | None) -> int:
        decoding = Input(size=SIZE, fit="crop", white_level=white_level)
        files = [a_file(Image.fromarray(values)), a_file(Image.fromarray(values[::-1].copy()))]
        return any_size.compare(tmp_path / "any.onnx", fixed=fixed, files=files, decoding=decoding).differing

    assert outputs_differ(4095) == 0
    assert outputs_differ(None) == 0


def test_a_file_that_answers_otherwise_is_told_so(tmp_path: Path) -> None:
    fixed = export_net(a_learned_net(), tmp_path / "fixed.onnx")
    any_size.write_any_size(fixed, tmp_path / "any.onnx", fit="stretch")
    flag = Image.new("RGB", (180, 30), (255, 0, 0))
    flag.paste((0, 0, 255), (75, 0, 105, 30))

    found = any_size.compare(
        tmp_path / "any.onnx",
        fixed=fixed,
        files=[a_file(flag), leaves().files[0]],
        decoding=Input(size=SIZE, fit="crop"),
    )

    assert found.agreement == 0.5
