"""Servers that are compared: their commands, and the forms in which they take a JPEG and a tensor."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.serving.client import Ask
from benchmarks.serving.nets import Net
from benchmarks.serving.results import LEVELS

SERVERS = Path(__file__).parent / "peer_servers"
OCTETS = {"Content-Type": "application/octet-stream"}
JSON = {"Content-Type": "application/json"}
BOUNDARY = "espalier-benchmark"


@dataclass(frozen=True)
class Asks:
    """A JPEG and a decoded image, as one server takes them."""

    jpeg: Ask
    tensor: Ask

    @property
    def by_form(self) -> Mapping[str, Ask]:
        """Return the requests, by the form of what they carry."""
        return {"jpeg": self.jpeg, "tensor": self.tensor}


@dataclass(frozen=True)
class Peer:
    """Server of another framework."""

    command: Callable[[Path, Path, int], list[str]]
    """from its Python, a folder of its own, and its port"""
    asks: Callable[[Net, bytes, bytes], Asks]
    """from a JPEG and the raw values of an image"""
    levels: tuple[int, ...] = LEVELS
    """numbers of connections at which it is measured"""
    ready_path: str | None = None
    """path that answers well once it is ready; None: any answer will do"""
    says_ready: bool = False
    """whether it prints `ready` when it is"""
    is_idle_at_rest: bool = True
    """whether it may stay while others are measured; the idle ones of the others take a fifth of a core"""


def v2(model: str, name: str, datatype: str, shape: list[int], data: bytes) -> Ask:
    """Return a request of the Open Inference Protocol with one binary tensor, its answer binary as well."""
    tensor = {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(data)}}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    length = {"Inference-Header-Content-Length": str(len(header))}
    return Ask(f"/v2/models/{model}/infer", header + data, OCTETS | length)


def espalier(net: Net, jpeg: bytes, raw: bytes) -> Asks:
    """Return our own forms: a raw JPEG to /predict, a binary tensor to /v2."""
    asked = Ask(f"/predict?model={net.name}", jpeg, {"Content-Type": "image/jpeg"})
    return Asks(asked, v2(net.name, "images", "UINT8", [1, net.size, net.size, 3], raw))


def raw_bodies(path: str) -> Callable[[Net, bytes, bytes], Asks]:
    """Return the forms of a server that is given the body as it is."""
    return lambda _net, jpeg, raw: Asks(Ask(path, jpeg, OCTETS), Ask(path, raw, OCTETS))


def _litserve(_net: Net, jpeg: bytes, raw: bytes) -> Asks:
    def ask(body: bytes) -> Ask:
        return Ask("/predict", json.dumps({"body": base64.b64encode(body).decode()}).encode(), JSON)

    return Asks(ask(jpeg), ask(raw))


def _bentoml(_net: Net, jpeg: bytes, raw: bytes) -> Asks:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="bodies"; filename="body.jpg"\r\n'
    head += "Content-Type: image/jpeg\r\n\r\n"
    form = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

    def ask(body: bytes) -> Ask:
        return Ask("/classify", head.encode() + body + f"\r\n--{BOUNDARY}--\r\n".encode(), form)

    return Asks(ask(jpeg), ask(raw))


def _mlserver(_net: Net, jpeg: bytes, raw: bytes) -> Asks:
    def ask(body: bytes) -> Ask:
        given = {"name": "body", "datatype": "BYTES", "shape": [1], "parameters": {"content_type": "base64"}}
        document = {"inputs": [given | {"data": [base64.b64encode(body).decode()]}]}
        return Ask("/v2/models/net/infer", json.dumps(document).encode(), JSON)

    return Asks(ask(jpeg), ask(raw))


def _pytriton(net: Net, jpeg: bytes, raw: bytes) -> Asks:
    counted = np.uint32(len(jpeg)).tobytes() + jpeg
    tensor = v2("images", "images", "UINT8", [1, net.size, net.size, 3], raw)
    return Asks(v2("jpeg", "body", "BYTES", [1, 1], counted), tensor)


def _script(name: str) -> Callable[[Path, Path, int], list[str]]:
    return lambda python, _folder, _port: [str(python), str(SERVERS / f"serve_{name}.py")]


def _bentoml_command(python: Path, _folder: Path, port: int) -> list[str]:
    options = ["--host", "127.0.0.1", "--port", str(port), "--working-dir", str(SERVERS)]
    return [str(python.with_name("bentoml")), "serve", "serve_bentoml:Classifier", *options]


def _mlserver_command(python: Path, folder: Path, port: int, *, workers: int, batch: int) -> list[str]:
    ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
    settings = {"host": "127.0.0.1", "parallel_workers": workers, "metrics_endpoint": None, "debug": False}
    model = {
        "name": "net",
        "implementation": "serve_mlserver.Classify",
        "max_batch_size": batch,
        "max_batch_time": 0.001,
        "parameters": {"uri": "."},
    }
    (folder / "settings.json").write_text(json.dumps(settings | ports), encoding="utf-8")
    (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    return [str(python.with_name("mlserver")), "start", str(folder)]


def peers(net: Net, *, workers: int) -> Mapping[str, Peer]:
    """Return the peers, by name."""

    def mlserver(python: Path, folder: Path, port: int) -> list[str]:
        return _mlserver_command(python, folder, port, workers=workers, batch=net.peer_batch)

    return {
        "mosec": Peer(_script("mosec"), raw_bodies("/inference")),
        "pytriton": Peer(_script("pytriton"), _pytriton, says_ready=True),
        "mlserver": Peer(mlserver, _mlserver, ready_path="/v2/models/net/ready"),
        "bentoml": Peer(_bentoml_command, _bentoml),
        "litserve": Peer(_script("litserve"), _litserve, ready_path="/health", is_idle_at_rest=False),
        "ray": Peer(_script("ray"), raw_bodies("/"), says_ready=True, is_idle_at_rest=False),
        "fastapi": Peer(_script("fastapi"), raw_bodies("/predict"), levels=(1,)),
    }
