"""Providers that a file may be served by, as cards name them. Figures hold for one of them; each is measured alone."""

from typing import Literal

Provider = Literal["cpu", "cuda"]

EXECUTION_PROVIDERS: dict[str, Provider] = {
    "CPUExecutionProvider": "cpu",
    "OpenVINOExecutionProvider": "cpu",
    "CUDAExecutionProvider": "cuda",
    "TensorrtExecutionProvider": "cuda",
}
"""onnxruntime's name → the one of ours whose figures choose what is served: they are measured on the plain ones"""
