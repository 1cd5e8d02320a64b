"""Loaded models and remembered references: changed under load, and nobody gets a wrong or a stale answer."""

import asyncio
import base64
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from service.inference import devices
from tests import samples
from tests.service.live_service import a_plain_image, running
from tests.service.onnx_files import write_colour_net


def test_models_that_push_each_other_out_answer_everybody_rightly(tmp_path: Path) -> None:
    names = ("one", "two", "three")
    with running(samples.quick_settings(tmp_path / "home", loaded_models_max_bytes=100_000)) as service:
        for name in names:
            service.publish(name, write_colour_net(tmp_path / f"{name}.onnx", name=name))
        image = base64.b64encode(a_plain_image((0, 250, 0))).decode()

        async def crowd() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
                bodies = [{"model": names[turn % 3], "inputs": [image]} for turn in range(60)]
                return await asyncio.gather(*(client.post("/predict", json=body) for body in bodies))

        answers = [answer.raise_for_status().json() for answer in asyncio.run(crowd())]

        assert [answer["model"] for answer in answers] == [names[turn % 3] for turn in range(60)]
        assert {answer["predictions"][0]["label"] for answer in answers} == {"green"}
        assert service.context.sessions.residents.evictions >= 1


def test_the_cpu_is_used_when_it_is_asked_for_and_telemetry_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    devices.runtime.cache_clear()

    devices.runtime()

    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    assert devices.provider("cpu") == devices.CPU


def test_the_cpu_beside_a_drivers_gpu_that_runs_nothing_is_counted_as_a_fall_back() -> None:
    script = """
import ctypes
real = ctypes.CDLL
ctypes.CDLL = lambda name, *rest, **more: real(None if name == "libcuda.so.1" else name, *rest, **more)
from service.inference import devices
print(devices.provider("auto"), devices.provider("auto"), devices.fallbacks())
"""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}  # also where there is a GPU, it is not to be seen

    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)

    assert ran.stdout.splitlines()[-1].split() == [devices.CPU, devices.CPU, "1"]


@pytest.mark.gpu
def test_a_cuda_session_really_runs_on_cuda(tmp_path: Path) -> None:
    net = write_colour_net(tmp_path / "net.onnx")

    assert devices.provider("cuda") == devices.provider("auto") == devices.CUDA
    assert devices.open_session(net, provider=devices.CUDA, threads=1).get_providers()[0] == devices.CUDA
