"""What `jobs watch` ends with: what came of the job, its figures, and the commands that come next."""

import io
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from service.cli import ending
from service.cli.client import Client, Event
from service.cli.session import Session

JOB = "job_01m8p8x2bxcbr2t0yn95pe"
SPEC = {"training": {"monitor": "val_accuracy"}}
VERSION = {
    "model": "clothes",
    "version": 3,
    "compressed_from": None,
    "not_made": {},
    "defaults": {"cpu": "int8"},
    "default_variant": "int8",
    "metrics": {"val": {"accuracy": 0.95}, "test": {"accuracy": 0.9612}},
    "variants": [
        {
            "name": name,
            "parent": parent,
            "standalone": False,
            "size_bytes": size,
            "compressed_bytes": size,
            "measured": {
                "cpu": {"accuracy": {"val": 0.9}, "latency_ms": {"p50": ms, "p95": ms}, **more, "accepted": True}
            },
        }
        for name, parent, size, ms, more in (
            ("fp32", None, 16_400_000, 9.13, {}),
            ("int8", "fp32", 4_620_000, 4.07, {"speedup": 2.24}),
        )
    ],
}
MODEL = {"model": "clothes", "version": 3}
SEARCH = MODEL | {
    "monitor": "val_accuracy",
    "best": {"number": 7, "job": "job_7", "parameters": {"optimizer.lr": 0.01}, "value": 0.9731},
}
FOLDS = {
    "runs": [],
    "summary": {
        "held_out": {
            "accuracy": {"mean": 0.9105, "standard_deviation": 0.0123, "low": 0.89, "high": 0.93, "runs": 5},
        }
    },
}
FAULT = {"title": "The training diverged", "code": "diverged", "detail": "lower `optimizer.lr`", "status": 422}
LOST = {"title": "The worker was lost", "code": "worker_lost", "detail": "it crashed 3 times", "status": 500}


class Ended(Client):
    """A service with one job, which has ended."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__("http://127.0.0.1:9")
        self.job = job

    def events(self, job: str, **_: Any) -> Any:
        del job
        return iter([Event(1, "state", {"state": self.job["state"]})])

    def get(self, path: str, **_: Any) -> Any:
        return VERSION if path.startswith("/models/") else self.job


def a_job(state: str = "succeeded", **facts: Any) -> dict[str, Any]:
    usual = {"kind": "train", "children": None, "parent": None, "result": None, "problem": None, "warnings": []}
    times = {"started_at": "2026-11-30T10:00:00Z", "finished_at": "2026-11-30T10:03:20Z"}
    return {"id": JOB, "state": state, "spec": SPEC, **usual, **times, **facts}


def shown(job: dict[str, Any], *, width: int = 80, is_terminal: bool = False) -> str:
    session = Session(url=None, api_key=None, as_json=False)
    session.client = Ended(job)
    file = io.StringIO()
    session.console = Console(file=file, width=width, force_terminal=is_terminal, color_system=None, highlight=False)
    ending.see_end(session, JOB)
    return file.getvalue()


@pytest.mark.parametrize(
    ("job", "expected", "commands"),
    [
        (
            a_job(result=MODEL, warnings=["28 images are few"]),
            [
                "succeeded after 3 min",
                "clothes:3 · accuracy 0.9612 on test · accuracy 0.9500 on validation",
                "default on cpu: int8 · 4.07 ms each · 2.24 times as fast as fp32 · 4.62 MB",
                "warning: 28 images are few",
            ],
            ["predict clothes:3 IMAGE_OR_FOLDER", "models show clothes:3", f"jobs report {JOB}"],
        ),
        (
            a_job(kind="search", children={"planned": 9}, result=SEARCH),
            ["best: trial 7, val_accuracy 0.9731", "clothes:3 · accuracy 0.9612"],
            ["predict clothes:3 IMAGE_OR_FOLDER", "models show clothes:3", f"jobs trials {JOB}"],
        ),
        (
            a_job(kind="k_fold", children={"planned": 5}, result=FOLDS),
            ["held out accuracy", "0.9105", "0.0123"],
            [f"jobs trials {JOB}"],
        ),
        (
            a_job(kind="trial", parent="job_0", result={"value": 0.9, "pruned": True}),
            ["val_accuracy 0.9000, stopped early"],
            ["jobs trials job_0"],
        ),
        (
            a_job("failed", problem=FAULT),
            ["failed", "The training diverged", "lower `optimizer.lr`"],
            [f"jobs logs {JOB}"],
        ),
        (
            a_job("failed", problem=LOST),
            ["failed", "it crashed 3 times"],
            [f"jobs logs {JOB}", f"jobs retry {JOB}"],
        ),
        (a_job("canceled", started_at=None), [f"job {JOB} canceled\n"], [f"jobs retry {JOB}"]),
    ],
    ids=["model", "search", "folds", "trial", "fault", "lost", "canceled"],
)
def test_a_followed_job_ends_with_what_came_of_it_and_what_comes_next(
    job: dict[str, Any], expected: list[str], commands: list[str]
) -> None:
    text = shown(job)

    assert [each for each in expected if each not in text] == []
    assert text.endswith("".join(f"  espalier {each}\n" for each in commands))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_commands_are_never_broken_on_a_narrow_terminal(width: int) -> None:
    text = shown(a_job(result=MODEL), width=width, is_terminal=True)

    lines = [line.rstrip() for line in text.splitlines()]
    assert "  espalier predict clothes:3 IMAGE_OR_FOLDER" in lines
    assert f"  espalier jobs report {JOB}" in lines
    assert "2.24" in text


class Left(Ended):
    """A service whose follower presses Ctrl-C."""

    def events(self, job: str, **_: Any) -> Any:
        del job
        raise KeyboardInterrupt


def test_whoever_stops_following_is_told_that_the_job_goes_on() -> None:
    session = Session(url=None, api_key=None, as_json=False)
    session.client = Left(a_job("running"))
    file = io.StringIO()
    session.console = Console(file=file, width=80, highlight=False)

    with pytest.raises(typer.Exit) as left:
        ending.see_end(session, JOB)

    assert left.value.exit_code == 130
    assert "keeps running" in file.getvalue()
    assert f"  espalier jobs watch {JOB}\n  espalier jobs cancel {JOB}\n" in file.getvalue()


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        (None, "", "next:\n"),
        ("http://127.0.0.1:8000/", "", "next:\n"),
        ("http://far:9000", "http://far:9000", "next:\n"),
        ("http://far:9000", "", "next, after `export ESPALIER_URL=http://far:9000`:\n"),
    ],
)
def test_the_next_commands_reach_the_same_service(
    url: str | None, environment: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    monkeypatch.setenv("ESPALIER_URL", environment)
    session = Session(url=url, api_key=None, as_json=False)
    session.console = Console(file=io.StringIO(), width=80)

    session.next_commands(["jobs list"])

    assert session.console.file.getvalue().startswith(expected)  # type: ignore[attr-defined]
