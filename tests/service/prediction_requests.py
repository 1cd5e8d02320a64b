"""Inputs of `POST /predict`, and the metrics that count them."""

import base64

from tests.service.live_service import Service

RED, GREEN, BLUE = (250, 5, 5), (5, 250, 5), (5, 5, 250)
A_LARGE_INPUT = {"input": {"size": 256, "channels": 3, "fit": "crop"}}


def as_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def metric_of(service: Service, name: str) -> list[float]:
    lines = service.http.get("/metrics").text.splitlines()
    return [float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)]
