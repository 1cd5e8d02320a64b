"""Memory of explanations, which run a model on many copies of an example."""

import asyncio
import tracemalloc
from pathlib import Path

import numpy as np

from models_store.models.served import Served
from models_store.settings import Settings
from models_store.targets import NAMED
from models_store.tasks.image.codec import ImageCodec
from service.inference.decode import Ready
from service.inference.engine import Answer, Work
from service.inference.explanations import Explaining, Question
from service.metrics import Metrics

SIZE = 512
COPY_BYTES = SIZE * SIZE * 3


class Undecided:
    """An engine that gives two classes the same probability."""

    async def infer(self, _served: Served, work: Work) -> Answer:
        outputs = [np.full(2, 0.5, np.float32) for _ in work.examples]
        return Answer(outputs, 0, 0, 0, len(outputs), "CPUExecutionProvider")


def test_only_one_batch_of_copies_is_in_memory_at_a_time(tmp_path: Path) -> None:
    settings = Settings(espalier_home=tmp_path)
    codec = ImageCodec.of({"size": SIZE, "channels": 3, "fit": "crop"}, settings)
    served = Served("ada", "net", 1, "fp32", "", {}, {}, {})
    work = Work([Ready(np.zeros(codec.shape, np.uint8))], ["/inputs/0"])

    async def explained() -> int:
        answer = await Undecided().infer(served, work)
        explaining = Explaining(Undecided(), model_file=Path, metrics=Metrics(settings))
        tracemalloc.start()
        try:
            found = await explaining.explain(Question(served, work, answer, codec, NAMED["class"], "occlusion"))
            assert found[0].runs == 64
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    most_bytes = asyncio.run(explained())

    drawing_bytes = SIZE * SIZE * 8 * 12  # some arrays of float64
    assert most_bytes < codec.most_per_batch * COPY_BYTES * 2 + drawing_bytes
