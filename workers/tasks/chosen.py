"""Choice of a few training examples that show what a dataset holds."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from models_store.datasets.store import ManifestEntry


def chosen(manifest: Sequence[ManifestEntry], *, count: int, seed: int) -> list[ManifestEntry]:
    """Return up to `count` examples of the train split, one of each class in turn."""
    by_class: defaultdict[str, list[ManifestEntry]] = defaultdict(list)
    for entry in manifest:
        if entry.split == "train":
            by_class[entry.label].append(entry)
    random = np.random.default_rng(seed)
    queues = [[entries[place] for place in random.permutation(len(entries))] for _, entries in sorted(by_class.items())]
    depth = max((len(queue) for queue in queues), default=0)
    in_turn = [queue[place] for place in range(depth) for queue in queues if place < len(queue)]
    return in_turn[:count]
