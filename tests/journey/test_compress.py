"""A version taken up again, by a real trainer: compressed without training, measured again, and asked."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli.main import app
from tests.samples import PLAIN, quick_settings
from tests.service.live_service import Service, a_plain_image, running
from workers.process.claim_loop import work
from workers.process.persistence import StopFlag

pytestmark = pytest.mark.slow

PATIENCE_S = 240
WORDS = (
    "leaves:2, compressed from leaves:1",
    "structured, ratio 0.5",
    "fp16 of pruned",
    "default",
    "img/s at 1",
    "packed",
)
Espalier = Callable[..., str]
TINY = PLAIN | {
    "name": "leaves",
    "input": {"size": 32},
    "backbone": {"kind": "small_cnn", "widths": [32, 48], "depth": 1},
    "training": {"epochs": 3, "batch_size": 16, "precision": "fp32"},
    "compression": None,
}
COMPRESSION = {
    "prune": {"kind": "structured", "ratio": 0.5},
    "recover": {"epochs": 40},
    "quantize": [{"kind": "fp16"}, {"kind": "dynamic_int8", "layers": "all"}],
    "max_accuracy_drop": 1.0,
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a service whose jobs a worker does, as soon as they come."""
    settings = quick_settings(tmp_path_factory.mktemp("compressing") / "home")
    stop = StopFlag()

    def labour() -> None:
        while not stop.is_set:
            work(settings, stop=stop)
            time.sleep(0.05)

    with running(settings) as service:
        thread = threading.Thread(target=labour)
        thread.start()
        yield service
        stop.set()
        thread.join()


def ended(service: Service, job: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while job["state"] not in {"succeeded", "failed", "canceled"} and time.monotonic() < deadline:
        time.sleep(0.1)
        job = service.http.get(f"/jobs/{job['id']}").raise_for_status().json()
    assert job["state"] == "succeeded", job["problem"]
    return job


def compress(service: Service, number: int, compression: dict[str, Any]) -> dict[str, Any]:
    answer = service.http.post(f"/models/leaves/versions/{number}:compress", json=compression)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def recovering(service: Service, job_id: str, *, epoch: int) -> None:
    """Wait until a job's pruned net has recovered for some epochs."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        job = service.http.get(f"/jobs/{job_id}").raise_for_status().json()
        assert job["state"] in {"queued", "running"}, job["problem"]
        if job["phase"] == "pruning" and (job["progress"].get("epoch") or 0) >= epoch:
            return
        time.sleep(0.02)
    raise AssertionError(f"{job_id} did not recover for {epoch} epochs in {PATIENCE_S} s")


def trainers() -> list[int]:
    """Return the pids of the trainers that this process has started."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return [pid for pid in children if b"workers.process.trainer" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def a_version(service: Service, number: int) -> dict[str, Any]:
    return dict(service.http.get(f"/models/leaves/versions/{number}").raise_for_status().json())


@pytest.fixture(scope="module")
def trained(live: Service) -> dict[str, Any]:
    """A version of fp32 alone."""
    dataset = live.upload()["id"]
    ended(live, live.http.post("/train", json=TINY | {"dataset": dataset}).raise_for_status().json())
    return a_version(live, 1)


@pytest.fixture(scope="module")
def compressing(live: Service, trained: dict[str, Any]) -> dict[str, Any]:
    """The job that has compressed it."""
    return ended(live, compress(live, trained["version"], COMPRESSION))


@pytest.fixture(scope="module")
def compressed(live: Service, compressing: dict[str, Any]) -> dict[str, Any]:
    return a_version(live, compressing["result"]["version"])


def test_a_compression_makes_a_new_version_without_training(
    live: Service, trained: dict[str, Any], compressing: dict[str, Any], compressed: dict[str, Any]
) -> None:
    assert (compressing["kind"], compressing["result"]) == ("compress", {"model": "leaves", "version": 2})
    steps = {step["name"]: step["state"] for step in compressing["steps"]}
    assert "training" not in steps
    assert set(steps.values()) == {"done"}
    assert compressed["compressed_from"] == "leaves:1"
    assert compressed["weights"] == trained["weights"]
    assert compressed["metrics"] == trained["metrics"]
    assert a_version(live, 1) == trained


def test_every_form_of_it_is_measured_and_judged_or_told_why_not(compressed: dict[str, Any]) -> None:
    variants = {variant["name"]: variant for variant in compressed["variants"]}

    asked = {"fp32", "fp16", "dynamic-int8", "pruned", "pruned-fp16", "pruned-dynamic-int8"}
    assert asked == (set(variants) & asked) | set(compressed["not_made"])
    assert {"fp32", "pruned", "fp16", "dynamic-int8"} <= set(variants)
    for variant in variants.values():
        if variant["standalone"]:
            continue
        figures = variant["measured"]["cpu"]
        assert figures["accepted"] or figures["reasons"] or figures["unmeasurable"], variant
        assert figures["unmeasurable"] or figures["latency_ms"]["p50"] > 0
    assert variants[compressed["defaults"]["cpu"]]["measured"]["cpu"]["accepted"]


def test_a_report_and_the_training_curves_go_with_the_compressed_version(
    live: Service, compressing: dict[str, Any]
) -> None:
    report = live.http.get(f"/jobs/{compressing['id']}/report").raise_for_status().json()

    assert [row["epoch"] for row in report["history"]] == [1, 2, 3]


def test_the_default_of_the_new_version_answers(live: Service, compressed: dict[str, Any]) -> None:
    image = ("red.png", a_plain_image((250, 0, 0)), "image/png")

    reference = f"leaves:{compressed['version']}"

    answer = live.http.post("/predict", data={"model": reference}, files={"files": image}).raise_for_status().json()

    assert (answer["version"], answer["variant"]) == (2, a_version(live, 2)["defaults"]["cpu"])
    assert answer["predictions"][0]["label"] == "red"


@pytest.fixture(scope="module")
def espalier(live: Service) -> Callable[..., str]:
    """Return the command line, which must succeed."""

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, ["--url", live.url, *words])
        assert done.exit_code == 0, done.output
        return done.output

    return run


@pytest.mark.usefixtures("compressed")
def test_the_command_line_shows_what_is_known_of_every_variant(espalier: Espalier) -> None:
    shown = espalier("models", "show", "leaves:2")

    assert [words for words in WORDS if words not in shown] == []
    header, *rows = (line.split("\t") for line in shown.partition("\n# Speed")[0].splitlines()[1:])
    assert header[0] == "variant"
    assert {len(row) for row in rows} == {len(header)}, "in a pipe each variant is one line"


def test_measuring_again_replaces_figures_and_nothing_else(
    live: Service, compressed: dict[str, Any], espalier: Espalier
) -> None:
    told = espalier("models", "measure", "leaves:2")

    job = live.http.get("/jobs?limit=1").json()["items"][0]
    after = a_version(live, 2)
    assert (job["kind"], job["parameters"]) == ("measure", {"model": "leaves", "version": 2})
    assert [(step["name"], step["state"]) for step in job["steps"]] == [
        ("validating", "done"),
        ("measuring", "done"),
        ("publishing", "done"),
    ]
    kept = ("weights", "created_at", "job", "metrics", "labels", "not_made")
    assert {name: after[name] for name in kept} == {name: compressed[name] for name in kept}
    assert after["default_variant"] == after["defaults"]["cpu"]
    assert {each["name"]: each["sha256"] for each in after["variants"]} == {
        each["name"]: each["sha256"] for each in compressed["variants"]
    }
    old, new = (
        {each["name"]: each["measured"]["cpu"].get("measured_at") for each in version["variants"] if each["measured"]}
        for version in (compressed, after)
    )
    assert all(new[name] > moment for name, moment in old.items() if moment)
    assert job["result"]["defaults"] == {"before": compressed["defaults"], "after": after["defaults"]}
    assert {each["variant"] for each in job["result"]["measured"]} == set(old)
    assert "Measured again" in told


def test_a_compressed_version_is_compressed_again_from_the_same_weights(
    live: Service, compressed: dict[str, Any], espalier: Espalier, tmp_path: Path
) -> None:
    spec = tmp_path / "compression.json"
    spec.write_text(json.dumps({"quantize": [{"kind": "static_int8"}]}))

    told = espalier("models", "compress", "leaves:2", "--spec", str(spec), "--set", "quantize.0.calibration_images=8")

    again = a_version(live, 3)
    job = live.http.get(f"/jobs/{again['job']}").json()
    assert (again["compressed_from"], again["weights"]) == ("leaves:2", compressed["weights"])
    assert [step["state"] for step in job["steps"] if step["name"] == "pruning"] == ["skipped"]
    assert {"fp32", "int8"} <= {variant["name"] for variant in again["variants"]}
    assert "leaves:3, compressed from leaves:2" in told


def test_a_compression_whose_trainer_was_killed_goes_on_and_makes_the_same_files(
    live: Service, compressed: dict[str, Any]
) -> None:
    started = compress(live, 1, COMPRESSION)
    recovering(live, started["id"], epoch=3)

    (trainer,) = trainers()
    os.kill(trainer, signal.SIGKILL)
    job = ended(live, started)

    assert (job["crashes"], job["attempts"]) == (1, 2)
    again = a_version(live, job["result"]["version"])
    versions = live.http.get("/models/leaves").json()["versions"]
    assert [version["job"] for version in versions].count(job["id"]) == 1
    assert {each["name"]: each["sha256"] for each in again["variants"]} == {
        each["name"]: each["sha256"] for each in compressed["variants"]
    }
