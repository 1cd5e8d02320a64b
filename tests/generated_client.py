"""A client that openapi-python-client makes of docs/openapi.json, as a user's build would."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from service import openapi


def generate(folder: Path) -> ModuleType:
    """Generate the client below `folder` and import it; the generator must not pass over anything but media types."""
    command = [str(Path(sys.executable).with_name("openapi-python-client")), "generate", "--meta", "none"]
    command += ["--path", str(openapi.SNAPSHOT), "--output-path", str(folder / "espalier_client")]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    warnings = [line for line in (told.stdout + told.stderr).splitlines() if "Unsupported" in line or "Unable" in line]
    allowed = (
        "Unsupported content type",
        "Unsupported content_type image/",
        "Unsupported content_type application/zip",
    )
    assert all(any(each in line for each in allowed) for line in warnings), warnings
    for name in [name for name in sys.modules if name.partition(".")[0] == "espalier_client"]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("espalier_client")
    finally:
        sys.path.remove(str(folder))


def call(client: ModuleType, name: str) -> Any:
    """Return the blocking form of an operation, `tag.operation_id`."""
    return importlib.import_module(f"{client.__name__}.api.{name}").sync


def shape(client: ModuleType, name: str) -> Any:
    """Return a class of the generated models."""
    return getattr(importlib.import_module(f"{client.__name__}.models"), name)
