"""Providers that a file may be served by, as cards name them. Figures hold for one of them; each is measured alone."""

from typing import Literal

Provider = Literal["cpu", "cuda"]

EXECUTION_PROVIDERS: dict[str, Provider] = {"CPUExecutionProvider": "cpu", "CUDAExecutionProvider": "cuda"}
"""onnxruntime's name → ours"""
