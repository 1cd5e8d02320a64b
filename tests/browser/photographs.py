"""Image files as people have them: of many formats, sizes and shapes, turned, transparent, grey; and nets that look."""

import functools
import io
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from models_store.tasks.image.codec import EXIF_ORIENTATION
from tests.service import onnx_files
from workers.export import metadata

SIZE, CELLS = 32, 4
SAMPLE = Path(__file__).parent.parent.parent / "samples" / "demo.zip"


def write_looking_net(path: Path, *, channels: int = 3) -> list[str]:
    """Write a net that says which cell of a grid is brightest in which colour, or emptiest; return its labels."""
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool", ["planes"], ["cells"], kernel_shape=[SIZE // CELLS] * 2, strides=[SIZE // CELLS] * 2
        ),
        helper.make_node("Flatten", ["cells"], ["brightness"]),
        helper.make_node("Mul", ["brightness", "sharpness"], ["sharp"]),
        helper.make_node("Add", ["sharp", "shift"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    colours, alpha = [0.05] * min(channels, 3), [-0.1] * max(channels - 3, 0)
    weights_K = np.repeat(colours + alpha, CELLS * CELLS).astype(np.float32)
    labels = [f"{channel}-{row}-{column}" for channel in "rgba"[:channels] for row in "1234" for column in "1234"]
    graph = helper.make_graph(
        nodes,
        "looking",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", SIZE, SIZE, channels])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(labels)])],
        [
            numpy_helper.from_array(weights_K, "sharpness"),
            numpy_helper.from_array(np.where(weights_K < 0, -255 * weights_K, 0).astype(np.float32), "shift"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    metadata.write(model, {metadata.LABELS_KEY: labels})
    onnx.save_model(model, path)
    return labels


def write_measuring_net(path: Path, *, channels: int = 3) -> list[str]:
    """Write a net that says how red an image is, a number; return its labels, of which it has none."""
    assert channels == len(onnx_files.LABELS), channels
    onnx_files.write_colour_net(path, size=SIZE, activation="Identity", outputs=1)
    label_outputs(path, [])
    return []


def label_outputs(path: Path, labels: list[str]) -> None:
    """Let the file at `path` call its outputs by these names."""
    model = onnx.load_model(path)
    metadata.write(model, metadata.read(model) | {metadata.LABELS_KEY: labels})
    onnx.save_model(model, path)


def a_photograph(width: int, height: int, *, seed: int) -> Image.Image:
    """Return light and shade of several scales with a little noise, as photographs have them."""
    random = np.random.default_rng(seed)
    scene_HWC = np.full((height, width, 3), 128.0)
    for cells in (2, 4, 9, 30):
        planes = [Image.fromarray(plane) for plane in random.normal(0, 70 / cells**0.5, (3, cells, cells)).astype("f4")]
        scene_HWC += np.stack(
            [np.asarray(each.resize((width, height), Image.Resampling.BICUBIC)) for each in planes], 2
        )
    return Image.fromarray(np.clip(scene_HWC + random.normal(0, 4, scene_HWC.shape), 0, 255).astype(np.uint8))


@functools.cache
def photographs() -> dict[str, bytes]:
    """Return file name → bytes."""
    turned = Image.Exif()
    turned[EXIF_ORIENTATION] = 6
    cut = a_photograph(130, 90, seed=1)
    cut.putalpha(Image.radial_gradient("L").resize(cut.size))
    files = {
        "wide.jpg": as_file(a_photograph(500, 375, seed=2), "JPEG", quality=90),
        "tall.jpg": as_file(a_photograph(213, 320, seed=3), "JPEG", quality=80),
        "large.jpg": as_file(a_photograph(1280, 721, seed=11), "JPEG", quality=85),
        "turned.jpg": as_file(a_photograph(301, 200, seed=5), "JPEG", exif=turned),
        "grey.jpg": as_file(a_photograph(99, 64, seed=6).convert("L"), "JPEG"),
        "odd.png": as_file(a_photograph(81, 50, seed=7), "PNG"),
        "small.png": as_file(a_photograph(20, 26, seed=8), "PNG"),
        "cut.png": as_file(cut, "PNG"),
        "palette.gif": as_file(a_photograph(70, 60, seed=9).quantize(64), "GIF"),
        "square.webp": as_file(a_photograph(128, 128, seed=10), "WEBP", lossless=True),
    }
    with zipfile.ZipFile(SAMPLE) as archive:
        real = [name for name in archive.namelist() if name.endswith(".png")][::400]
        return files | {f"sample-{number}.png": archive.read(name) for number, name in enumerate(real)}


def as_file(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
