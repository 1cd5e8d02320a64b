"""The stage that makes the file for elsewhere: fp32's graph with its resize in front, compared with what is served."""

import numpy as np

from models_store.datasets.store import ManifestEntry
from models_store.tasks.rooms import target_of
from workers.export.any_size import VARIANT, AnySizeImpossible, compare, write_any_size
from workers.export.verify import read_members
from workers.stages.context import Variant, Work
from workers.tasks.image.examples import ImageArrays

MOST_COMPARED = 200
"""Whole images go one at a time, and a photograph takes tens of milliseconds."""
LEAST_AGREEMENT = 0.95
"""Serving decodes a large JPEG at a fraction of its size: that changes an answer in doubt, and no other."""


def make_portable(
    work: Work, entries: list[ManifestEntry], arrays: ImageArrays, fp32: Variant
) -> tuple[dict[str, Variant], dict[str, str]]:
    """Return the any-size variant by its name, where the spec wants it; and by its name why it could not be made.

    It is compared with serving's way through fp32's file, on validation images spread over the split.
    """
    if not work.spec.export.any_size:
        return {}, {}
    path = work.staging / f"{VARIANT}.onnx"
    val = arrays.split("val")
    rows = val[np.linspace(0, len(val) - 1, num=min(len(val), MOST_COMPARED)).astype(np.int64)]
    target = target_of(work.spec.task)
    try:
        write_any_size(fp32.path, path, fit=work.spec.input.fit)
        found = compare(
            path,
            fixed=fp32.path,
            files=read_members(work.blobs.local(work.dataset.content_blob), (entries[row].member for row in rows)),
            decoding=work.spec.input,
            target=target,
            tolerance=target.near(arrays.targets[val]),
            max_pixels=work.settings.image_max_pixels,
        )
    except AnySizeImpossible as error:
        work.reporter.warn(f"{VARIANT}: {error.detail}")
        return {}, {VARIANT: error.detail}
    if found.agreement < LEAST_AGREEMENT and found.differing > 1:
        differs = (
            f"{found.differing} of {found.images} validation images get another answer from the any-size file than "
            f"from serving; {LEAST_AGREEMENT:.0%} must get the same: train longer, so that fewer answers are in doubt"
        )
        work.reporter.warn(f"{VARIANT}: {differs}")
        return {}, {VARIANT: differs}
    return {VARIANT: Variant(path, parent="fp32", facts={"standalone": True} | found.as_card())}, {}
