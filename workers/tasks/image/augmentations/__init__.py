"""Random changes to whole batches, drawn anew for every image: one resampling for all geometry, then colours.

`augment` applies the parts of a spec, `mix` those that blend images with each other, and `build` says what one part
does. Importing a file of parts registers their builders.
"""

from workers.tasks.image.augmentations import colors, details, erasing, geometry, mixing, policies, sampling, tones
from workers.tasks.image.augmentations.application import augment
from workers.tasks.image.augmentations.changes import build
from workers.tasks.image.augmentations.mixing import mix

__all__ = [
    "augment",
    "build",
    "colors",
    "details",
    "erasing",
    "geometry",
    "mix",
    "mixing",
    "policies",
    "sampling",
    "tones",
]
