"""Stage that keeps golden inputs: a few validation examples, and what every file that ships answers to them."""

from collections.abc import Iterator

import numpy as np

from models_store.models.golden import MOST_BYTES, MOST_EXAMPLES, Golden
from models_store.tasks.codec import Codec
from workers.export.sessions import answer, open_session
from workers.stages.context import Work
from workers.stages.data import Data
from workers.stages.variant import Variants
from workers.stages.verify import codec_of

CANDIDATES = 64
"""validation examples that are looked at: of large ones, only a few fit"""


def store_golden(work: Work, data: Data, variants: Variants) -> str | None:
    """Put the golden inputs among the blobs and return their digest; None if no example is small enough."""
    examples = tuple(_small(data))
    if not examples:
        return None
    codec = codec_of(work, data)
    outputs: dict[str, list[list[float]]] = {}
    for name, variant in variants.made.items():
        try:
            session = open_session(variant.path, device="cpu", threads=1)
            outputs[name] = [answer(session, _alone(codec, example))[0].tolist() for example in examples]
        except Exception as error:  # noqa: BLE001  onnxruntime's errors share no base; measuring says it in the card
            work.reporter.warn(f"{name} does not run on the CPU, so no outputs of it are kept: {error}")
    return work.blobs.put(Golden(examples, outputs).write(work.staging / "golden.json")).sha256


def _small(data: Data) -> Iterator[bytes]:
    """Yield examples from all over the val split, up to the most that are kept."""
    rows = data.examples.split("val")
    places = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), CANDIDATES)).astype(int))
    ordered = [*places[:: max(1, len(places) // MOST_EXAMPLES)], *places]
    left_bytes, left = MOST_BYTES, MOST_EXAMPLES
    chosen = list(dict.fromkeys(int(rows[place]) for place in ordered))
    for example in data.files(chosen):
        if left and len(example) <= min(left_bytes, MOST_BYTES // 2):
            left_bytes, left = left_bytes - len(example), left - 1
            yield example


def _alone(codec: Codec[object], example: bytes) -> dict[str, np.typing.NDArray[np.generic]]:
    batch = codec.batch(1)
    batch.add(codec.decode(example, budget=codec.budget()))
    return batch.inputs()
