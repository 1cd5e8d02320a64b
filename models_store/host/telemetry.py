"""Telemetry of libraries, switched off. Entry points call it; libraries don't."""

import os

OFF = {"ORT_DISABLE_TELEMETRY": "1"}
"""onnxruntime reads it at its first import; without it, 1.29 and later start a thread that reports"""


def turn_off() -> None:
    """Switch telemetry off in this process and its children. Call it before onnxruntime is imported."""
    os.environ.update(OFF)
