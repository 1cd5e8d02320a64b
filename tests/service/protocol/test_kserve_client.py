"""KServe's public client against a real service. It runs in an environment of its own, which `make test` makes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import samples
from tests.service import onnx_files
from tests.service.live_service import a_free_port, a_plain_image, running
from tests.service.prediction_requests import RED

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-kserve" / "bin" / "python"

pytestmark = pytest.mark.skipif(
    not (PYTHON.parents[1] / ".made").exists(), reason="KServe's client is not installed: `make test` installs it"
)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("kserve")
    image = folder / "red.png"
    image.write_bytes(a_plain_image(RED))
    settings = samples.quick_settings(folder / "home", grpc_port=a_free_port())
    with running(settings) as service:
        service.publish("colours", onnx_files.write_colour_net(folder / "colours.onnx"))
        command = [PYTHON, ROOT / "tests/kserve/client.py", service.url, f"127.0.0.1:{settings.grpc_port}", image]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_the_server_and_its_models_are_ready(answers: dict[str, Any], transport: str) -> None:
    found = answers[transport]

    assert [found[name] for name in ("live", "ready", "model", "unknown")] == [True, True, True, False]


@pytest.mark.parametrize("transport", ["http", "grpc"])
@pytest.mark.parametrize("form", ["binary", "json", "files"])
def test_tensors_and_files_are_answered(answers: dict[str, Any], transport: str, form: str) -> None:
    found = answers[transport][form]

    assert (found["id"], found["model"]) == ("mine", "colours")
    assert np.allclose(found["data"], [onnx_files.expected_probabilities(RED)], atol=1e-4)


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_an_error_reaches_the_client(answers: dict[str, Any], transport: str) -> None:
    assert "there is no model 'unknown'" in answers[transport]["error"]
