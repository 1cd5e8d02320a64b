"""BentoML: adaptive batching; a body comes as a form's file, as its documentation has it for batches of files."""

from pathlib import Path
from typing import Annotated

import bentoml
import peer_net
from bentoml.validators import ContentType


@bentoml.service(
    workers=peer_net.WORKERS,
    traffic={"timeout": 60, "max_concurrency": 1024},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Classifier:
    """One process with a net of its own."""

    def __init__(self):
        self._net = peer_net.Net()

    @bentoml.api(batchable=True, max_batch_size=peer_net.BATCH, max_latency_ms=60_000)
    def classify(self, bodies: list[Annotated[Path, ContentType("image/jpeg")]]) -> list[str]:
        """Answer a batch."""
        return self._net.answer_as_text([body.read_bytes() for body in bodies])
