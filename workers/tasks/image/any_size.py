"""Any-size file from fp32's file: it takes whole images of any size, decoded and upright, and needs nothing else.

A graph in front of the fixed-size one does what `models_store.tasks.image.codec` does after decoding: `crop` takes the
centred square of the short side, `stretch` all of it, and one linear resampling with antialiasing brings it to the
net's size.
onnxruntime's Resize of uint8 computes as Pillow's does, to one grey level, and runs in its build for browsers too.

The box of a crop lies between two pixels where the sides differ by an odd number, and Resize takes whole pixels only.
But its `half_pixel_symmetric` keeps the middle of what comes in the middle of what goes out. So it is given a region
around the box with the same middle, so narrow that not one pixel more comes out; what lies beyond the box is within the
filter's reach, as it is for Pillow. Only where there is no such region (an image no larger than the net's input, its
sides an odd number apart) the result is half a pixel off.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch

from models_store.errors import Invalid
from models_store.spec.train import ResolvedSpec
from models_store.targets import ONE_CLASS, Target
from models_store.tasks.image import codec
from models_store.tasks.image.input import Input
from models_store.tasks.image.spec import of_images
from models_store.tasks.rooms import target_of
from workers.export import metadata
from workers.export.metadata import CARD_KEY
from workers.export.sessions import open_session
from workers.tasks.image.examples import INPUT
from workers.training.examples import Examples, Rows

# N images, H height, W width, C channel, K class; where a tensor holds two numbers, they are of height and width

VARIANT = "any-size"
RESIZED = "resized"
LEAST_OPSET = 19
"""the first whose Resize keeps the middle in the middle"""

FRONT = """
<ir_version: {ir_version}, opset_import: ["" : {opset}]>
resize (uint8[N, H, W, {channels}] images) => (uint8[N, {size}, {size}, {channels}] resized)
{{
    size = Constant <value_ints = [{size}, {size}]> ()
    {body}
}}
"""
STRETCH = """
    resized = Resize <mode = "linear", antialias = 1, axes = [1, 2]> (images, , , size)
"""
CROP = """
    axes = Constant <value_ints = [1, 2]> ()
    two = Constant <value_int = 2> ()
    sides = Shape <start = 1, end = 3> (images)
    side = ReduceMin <keepdims = 1> (sides)
    spare = Sub (sides, side)

    percent = Constant <value_int = 99> ()
    percents = Mul (side, percent)
    whole = Constant <value_int = 100> ()
    wholes = Mul (size, whole)
    reach = Div (percents, wholes)
    room = Min (spare, reach)
    besides = Sub (spare, room)
    odd = Mod (besides, two)
    even = Sub (room, odd)
    margin = Abs (even)

    left_out = Sub (spare, margin)
    start = Div (left_out, two)
    extent = Add (side, margin)
    end = Add (start, extent)
    region = Slice (images, start, end, axes)

    from = Cast <to = 1> (side)
    to = Cast <to = 1> (size)
    ratio = Div (to, from)
    up = Constant <value_float = {up}> ()
    scales = Mul (ratio, up)
    scaled = Resize <mode = "linear", antialias = 1, axes = [1, 2],
        coordinate_transformation_mode = "half_pixel_symmetric"> (region, , scales)

    made = Shape <start = 1, end = 3> (scaled)
    beyond = Sub (made, size)
    first = Div (beyond, two)
    last = Add (first, size)
    resized = Slice (scaled, first, last, axes)
"""
BODIES = {"crop": CROP, "stretch": STRETCH}
MOST_COMPARED = 200
"""Whole images go one at a time, and a photograph takes tens of milliseconds."""
LEAST_AGREEMENT = 0.95
"""Serving decodes a large JPEG at a fraction of its size: that changes an answer in doubt, and no other."""
UP = 1 + 2**-20
"""The output's length is rounded down, and 223.9999 would be 223; a millionth more displaces nothing."""


class AnySizeImpossible(Invalid):
    """The resize can't be put in front of this graph, or the result answers differently."""

    code = "any_size_impossible"
    title = "There is no any-size file of this model"


@dataclass(frozen=True)
class AnySizeAgreement:
    """How the any-size file, given whole images, answers beside the fixed-size one, given what serving gives it."""

    images: int
    differing: int
    """images with another answer"""

    @property
    def agreement(self) -> float:
        """Return the share of images with the same answer."""
        return 1 - self.differing / self.images

    def as_card(self) -> dict[str, Any]:
        """Return what the variant's card says: no accuracy, as that of a few images compares with no other file's."""
        return {"compared_images": self.images, "agreement_with_serving": self.agreement}


def make(
    path: Path,
    *,
    fixed: Path,
    spec: ResolvedSpec,
    examples: Examples,
    files: Callable[[Rows], Iterable[bytes]],
    max_pixels: int,
) -> dict[str, Any]:
    """Write the any-size file to `path` and return what its card says.

    It is compared with serving's way through the file at `fixed`, on validation images spread over the split.

    Raises:
        AnySizeImpossible: if the resize does not fit, or too many images get another answer.
    """
    write_any_size(fixed, path, fit=of_images(spec).input.fit)
    val = examples.split("val")
    rows = val[np.linspace(0, len(val) - 1, num=min(len(val), MOST_COMPARED)).astype(np.int64)]
    target = target_of(spec.task)
    found = compare(
        path,
        fixed=fixed,
        files=files(rows),
        decoding=of_images(spec).input,
        target=target,
        tolerance=target.near(examples.targets[val]),
        max_pixels=max_pixels,
    )
    if found.agreement < LEAST_AGREEMENT and found.differing > 1:
        raise AnySizeImpossible(
            f"{found.differing} of {found.images} validation images get another answer from the any-size file than "
            f"from serving; {LEAST_AGREEMENT:.0%} must get the same: train longer, so that fewer answers are in doubt"
        )
    return found.as_card()


def write_any_size(fixed: Path, path: Path, *, fit: Literal["crop", "stretch"]) -> None:
    """Write to `path` the file at `fixed` with a resize in front of it; the labels and the card come along.

    `fixed` takes uint8 (N, size, size, C) as `images`; the new file takes uint8 (N, H, W, C) of any H and W.

    Raises:
        AnySizeImpossible: if ONNX's own check refuses the result.
    """
    model = onnx.load_model(fixed)
    if model.opset_import[0].version < LEAST_OPSET:
        model = onnx.version_converter.convert_version(model, LEAST_OPSET)
    size, channels = (dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim[2:])
    text = FRONT.format(
        ir_version=model.ir_version,
        opset=model.opset_import[0].version,
        size=size,
        channels=channels,
        body=BODIES[fit].format(up=UP),
    )
    front = onnx.compose.add_prefix(
        onnx.parser.parse_model(text), "any_size/", rename_inputs=False, rename_outputs=False
    )
    whole = onnx.compose.merge_models(front, model, io_map=[(RESIZED, INPUT)])
    del whole.opset_import[len(model.opset_import) :]  # merging has listed them twice
    said = metadata.read(whole)
    metadata.write(whole, said | {CARD_KEY: said.get(CARD_KEY, {}) | {"form": VARIANT}})
    try:
        onnx.checker.check_model(whole, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise AnySizeImpossible(
            f"the resize does not fit in front of this graph ({error}); resize the images yourself and take fp32"
        ) from error
    onnx.save_model(whole, path)


def compare(
    path: Path,
    *,
    fixed: Path,
    files: Iterable[bytes],
    decoding: Input,
    target: Target = ONE_CLASS,
    tolerance: float = 0.0,
    max_pixels: int = 64_000_000,
) -> AnySizeAgreement:
    """Ask the file at `path` and serving's way through `fixed` about the same image files, one at a time.

    Numbers agree when they are `tolerance` apart at most.
    """
    assert decoding.size is not None, "a resolved spec knows its size"
    any_size, served = (
        open_session(path, device="cpu", threads=torch.get_num_threads()),
        open_session(fixed, device="cpu", threads=torch.get_num_threads()),
    )
    given, expected = [], []
    for data in files:
        white = decoding.white_level
        image_HWC = codec.decode_whole(data, channels=decoding.channels, white_level=white, max_pixels=max_pixels)
        given.append(any_size.run(None, {INPUT: image_HWC[None]})[0])
        pixels_HWC = codec.decode(
            data,
            size=decoding.size,
            channels=decoding.channels,
            fit=decoding.fit,
            white_level=white,
            max_pixels=max_pixels,
        )
        expected.append(served.run(None, {INPUT: pixels_HWC[None]})[0])
    answers, others = (target.answers(np.concatenate(outputs)) for outputs in (given, expected))
    agreeing_N = target.agree(answers, others, tolerance=tolerance)
    return AnySizeAgreement(len(answers), differing=int(np.count_nonzero(~agreeing_N)))
