"""The format of decoded arrays, tied to the pixels in them: arrays on users' disks are of the same format for years."""

import hashlib
import itertools
import json
from pathlib import Path

from models_store.tasks.image import codec
from workers.tasks.image.examples import FORMAT

IMAGES = Path(__file__).parent / "tiny_images"
"""one of each way through the decoders: lossless, and JPEGs, which libjpeg-turbo decodes bit by bit alike everywhere"""
GOLDEN = Path(__file__).parent / "decoded_pixels.json"
SIZES = (16, 24, 64)  # a JPEG of 176 by 120 is decoded at 3/8, 4/8 and whole; all else is shrunk, or enlarged
AS_IT_IS = f"""
Decoded pixels have changed. Arrays that were decoded before lie in the caches of running services and would be read as
if they were new. If the change is meant (also where a renewed Pillow or simplejpeg brings it along):
1. raise FORMAT in workers/tasks/image/examples.py (it is {FORMAT!r}), so that old arrays are not read;
2. put the new format and digests into {GOLDEN.name}.
These images have other pixels: """


def digest_of(path: Path) -> str:
    """Return the SHA-256 of all that the file is decoded to: in each size, fit, number of channels and white level."""
    pixels = hashlib.sha256()
    for size, fit, channels, white in itertools.product(SIZES, ("crop", "stretch"), (1, 3, 4), (None, 1023)):
        decoded_HWC = codec.decode(path.read_bytes(), size=size, channels=channels, fit=fit, white_level=white)
        pixels.update(decoded_HWC.tobytes())
    return pixels.hexdigest()


def test_pixels_change_with_the_format_of_their_arrays_alone() -> None:
    golden = json.loads(GOLDEN.read_text())

    found = {path.name: digest_of(path) for path in sorted(IMAGES.iterdir())}

    differing = [name for name in {**golden["images"], **found} if golden["images"].get(name) != found.get(name)]
    assert not differing, AS_IT_IS + ", ".join(differing)
    assert golden["format"] == FORMAT, f"the digests in {GOLDEN.name} are of {golden['format']!r}: renew its format"
