"""Series of /metrics as tests read them, and an answer to count."""

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from models_store.models.served import Served
from service.inference.engine import Answer
from tests.service.live_service import Service

ANSWER = Answer([np.zeros(3, np.float32)], 0.002, 0.5, 0.3, 3, "CPUExecutionProvider")


def served(model: str = "m") -> Served:
    return Served("local", model, 1, "fp32", "b", {"task": "image_classification"}, {}, {})


def series(text: str | bytes) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return sample name → labels and value of each."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text if isinstance(text, str) else text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def read(service: Service, **headers: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    return series(service.http.get("/metrics", headers=headers).text)
