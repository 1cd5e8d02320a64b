"""Documents of the protocol: metadata of the server and of models, their configuration, and the index of all models.

They are the same over HTTP and gRPC: the names of their members are those of the protocol's messages.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from models_store.models.registry import Model
from models_store.models.served import Served
from service.inference.devices import ON_GPU
from service.inference.engine import DEFAULT, LAST
from service.protocol import datatypes
from service.protocol.datatypes import BYTES
from service.protocol.signatures import Signature, shape_of

SERVER = "espalier"
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
)
PLATFORM, BACKEND = "onnxruntime_onnx", "onnxruntime"
READY = "READY"


@dataclass(frozen=True)
class Running:
    """Execution provider that runs a file, with the name of its tuning; None: the file is not loaded yet."""

    provider: str
    tuning: str | None


def server() -> dict[str, Any]:
    """Return the metadata of the server."""
    try:
        number = version(SERVER)
    except PackageNotFoundError:  # a checkout that was never installed
        number = "0.1.0"
    return {"name": SERVER, "version": number, "extensions": list(EXTENSIONS)}


def metadata(served: Served, signature: Signature, *, versions: Iterable[int], running: Running) -> dict[str, Any]:
    """Return the metadata of a model: its tensors, each with any number of examples first."""
    return {
        "name": served.model,
        "versions": [str(number) for number in versions],
        "platform": PLATFORM,
        "inputs": [
            {"name": tensor.name, "datatype": datatypes.name_of(tensor.dtype), "shape": shape_of(tensor)}
            for tensor in signature.inputs
        ],
        "outputs": [{"name": signature.output, "datatype": "FP32", "shape": [-1, signature.output_count]}],
        "properties": {
            "version": str(served.version),
            "variant": served.variant,
            "task": str(served.card.get("task", "")),
            "provider": running.provider,
            "loaded": "false" if running.tuning is None else "true",
            "encoded": f"{signature.contract.examples} as one input of {BYTES}, shape [-1]",
        },
    }


def config(served: Served, signature: Signature, *, running: Running) -> dict[str, Any]:
    """Return a model's configuration, in the members of Triton's that have a meaning here."""
    return {
        "name": served.model,
        "platform": PLATFORM,
        "backend": BACKEND,
        "version_policy": {"specific": {"versions": [served.version]}},
        "max_batch_size": signature.codec.most_per_batch,
        "input": [
            {
                "name": tensor.name,
                "data_type": f"TYPE_{datatypes.name_of(tensor.dtype)}",
                "dims": shape_of(tensor)[1:],
            }
            for tensor in signature.inputs
        ],
        "output": [{"name": signature.output, "data_type": "TYPE_FP32", "dims": [signature.output_count]}],
        "dynamic_batching": {"priority_levels": LAST, "default_priority_level": DEFAULT},
        "instance_group": [{"kind": "KIND_GPU" if running.provider in ON_GPU else "KIND_CPU"}],
        "parameters": {
            "execution_provider": {"string_value": running.provider},
            "tuning": {"string_value": running.tuning or ""},
        },
        "default_model_filename": f"{served.variant}.onnx",
    }


def index(models: Iterable[Model]) -> list[dict[str, str]]:
    """Return every version of the models; each would answer now, and one that is not loaded loads then."""
    return [
        {"name": model.name, "version": str(each.number), "state": READY, "reason": ""}
        for model in models
        for each in model.versions
    ]
