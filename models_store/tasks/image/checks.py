"""Checks of images: tiny ones, different sizes, and unused bits of 16; and the facts of a card."""

import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from models_store.datasets.example import Example
from models_store.datasets.manifest import ManifestEntry
from models_store.datasets.report import Check
from models_store.tasks.image.facts import fitting_white
from models_store.tasks.task import Passed
from models_store.wording import counted, inflected

TINY_SIDE = 16


def check_depth(examples: Iterable[Example]) -> list[Check]:
    """Look at images of 16 bits that use a small part of them."""
    peaks = {example.file: example.passing["peak"] for example in examples if example.passing["peak"] is not None}
    largest = max(peaks.values(), default=0)
    if largest == 0 or (white := fitting_white(largest)) is None:
        return []
    one, many = "image of 16 bits uses", "images of 16 bits use"
    message = (
        f"{counted(len(peaks), one, many)} only 0 to {largest} of 65535, and would be shown nearly black; if "
        f"{inflected(len(peaks), 'its', 'their')} values have {white.bit_length()} bits, train with "
        f"`input.white_level` {white}"
    )
    reasons = {file: f"0 to {peak}" for file, peak in peaks.items()}
    return [Check("narrow_16_bit", "warning", message, sorted(peaks), reasons)]


def check_sizes(entries: Sequence[ManifestEntry]) -> list[Check]:
    """Look for tiny images, and for images of several sizes."""
    checks = []
    tiny = [entry.file for entry in entries if shorter_side(entry) < TINY_SIDE]
    if tiny:
        message = (
            f"{counted(len(tiny), 'image has', 'images have')} a side below {TINY_SIDE} pixels; "
            f"{inflected(len(tiny), 'it is', 'they are')} enlarged"
        )
        checks.append(Check("tiny_images", "info", message, tiny))
    sizes = Counter(_size(entry) for entry in entries)
    if len(sizes) > 1:
        width, height = sizes.most_common(1)[0][0]
        message = f"the images have {len(sizes)} sizes, most often {width} x {height}; each is brought to the spec's"
        checks.append(Check("mixed_sizes", "info", message))
    return checks


def passed(entries: Sequence[ManifestEntry], found: Collection[str]) -> Passed:
    """Yield what was looked at and is in order."""
    sizes = {_size(entry) for entry in entries}
    if len(sizes) == 1:
        width, height = next(iter(sizes))
        yield "mixed_sizes", len(entries), f"all images are {width} x {height} pixels"
    if "tiny_images" not in found:
        yield "tiny_images", len(entries), f"no image has a side below {TINY_SIDE} pixels"


def card_facts(examples: Iterable[Example], entries: Iterable[ManifestEntry]) -> dict[str, Any]:
    """Return whether all images are grey, the largest value of 16 bits, and the shorter side of the middle image."""
    kept = [*examples]
    return {
        "grey": all(example.passing["grey"] for example in kept),
        "largest_16_bit": max((example.passing["peak"] or 0 for example in kept), default=0),
        "median_side": statistics.median_low(shorter_side(entry) for entry in entries),
    }


def shorter_side(entry: ManifestEntry) -> int:
    """Return an image's shorter side, in pixels."""
    return int(min(_size(entry)))


def _size(entry: ManifestEntry) -> tuple[int, int]:
    return entry.facts["width"], entry.facts["height"]
