"""Searches and cross-validations as tables and lines for people."""

import io
from typing import TYPE_CHECKING, Any, cast

import click
from rich.console import Console

from service.cli import families
from service.cli.client import Client, Event
from service.cli.session import Session
from service.cli.watch import watch

if TYPE_CHECKING:
    import typer

PARENT: dict[str, Any] = {
    "id": "job_0",
    "kind": "search",
    "spec": {"training": {"monitor": "val_accuracy"}},
    "result": {"best": {"number": 1}},
}
CHILD: dict[str, Any] = {
    "number": 0,
    "kind": "trial",
    "state": "succeeded",
    "pruned": False,
    "value": 0.5,
    "epochs": 3,
    "parameters": {"optimizer.lr": 0.001, "optimizer": {"kind": "sgd"}},
    "problem": None,
    "job": "job_1",
}
GAIN = {
    "images": 100,
    "metric": "accuracy",
    "baseline": 0.5,
    "best": 0.75,
    "gain": 0.25,
    "low": 0.1,
    "high": 0.4,
    "p_value": 0.001,
    "test": "mcnemar_exact",
}


def shown(what: Any) -> str:
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_trials_are_lines_and_the_best_is_marked() -> None:
    best = CHILD | {"number": 1, "value": 0.75}
    stopped = CHILD | {"number": 2, "value": 0.25, "pruned": True, "epochs": 1}
    failed = CHILD | {"number": 3, "state": "failed", "value": None, "epochs": None, "problem": "diverged"}

    lines = shown(families.trial_table([CHILD, best, stopped, failed], PARENT)).splitlines()

    assert "optimizer.lr=0.001, optimizer=sgd" in lines[4]
    assert "1 best" in lines[5]
    assert "succeeded, stopped early" in lines[6]
    assert "failed" in lines[7]
    assert "diverged" in lines[7]


def test_a_search_is_summed_up_with_its_gain_and_its_doubts() -> None:
    result = {
        "monitor": "val_accuracy",
        "best": {"number": 1, "value": 0.9, "parameters": {"optimizer.lr": 0.01}},
        "gain": GAIN,
        "notes": ["it is optimistic"],
    }

    text = shown(families.findings(result))

    assert "best: trial 1, val_accuracy 0.9000, optimizer.lr=0.01" in text
    assert "accuracy 0.5000 → 0.7500, by +0.2500 (+0.1000 to +0.4000), p = 0.001 (mcnemar exact)" in text
    assert "note: it is optimistic" in text


def test_folds_are_summed_up_by_mean_and_interval() -> None:
    spread = {"mean": 0.8, "standard_deviation": 0.1, "low": 0.7, "high": 0.9, "runs": 5}
    alone = {"mean": 0.8, "standard_deviation": None, "low": None, "high": None, "runs": 1}

    text = shown(families.findings({"summary": {"held_out": {"accuracy": spread, "loss": alone}}, "notes": []}))

    assert "held out accuracy" in text
    assert "0.7000 to 0.9000" in text


class Plain(Client):
    """A service that has one job, a training."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9")

    def items(self, path: str, **_: Any) -> Any:
        del path
        return []

    def get(self, path: str, **_: Any) -> Any:
        return PARENT | {"id": path.rpartition("/")[2], "kind": "train", "children": None, "result": {"model": "a"}}


def test_a_plain_job_is_said_to_have_no_trials() -> None:
    session = Session(url=None, api_key=None, as_json=False)
    session.client = Plain()

    with click.Context(click.Command("trials"), obj=session) as context:
        session.console.file = io.StringIO()
        families.trials(cast("typer.Context", context), "job_7")

    assert "job_7 is a job of kind train: it has no trials" in session.console.file.getvalue()


class Told(Client):
    """A service that tells the events of a search."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9")

    def events(self, job: str, **_: Any) -> Any:
        told = [
            ("state", {"state": "queued"}),
            ("state", {"state": "running", "attempt": 1}),
            ("phase", {"phase": "trials"}),
            ("progress", {"fraction": 0.0, "children": 3, "ended": 0}),
            ("state", {"state": "waiting"}),
            ("child", {"job": job, "number": 0, "kind": "trial", "state": "succeeded", "value": 0.5, "pruned": True}),
            ("state", {"state": "queued", "reason": "a child has ended"}),
            ("child", {"job": job, "number": 1, "kind": "trial", "state": "failed", "problem": "it diverged"}),
            ("state", {"state": "succeeded"}),
        ]
        return iter([Event(number, kind, data) for number, (kind, data) in enumerate(told, 1)])

    def get(self, path: str, **_: Any) -> Any:
        del path
        return {"state": "succeeded", "problem": None}


def test_whoever_watches_a_search_sees_each_childs_end() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)

    watch(Told(), "job_0", console=console)

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "trial 0 succeeded 0.5, stopped early" in text
    assert "trial 1 failed: it diverged" in text


PROGRESS = {"fraction": 0.3, "phase_fraction": 0.5, "step": "steps", "epoch": 1, "epochs": 4, "eta_s": 754.0}


class OnItsWay(Told):
    """A service whose job trains, and knows about when it ends."""

    def events(self, job: str, **_: Any) -> Any:
        del job
        told = [
            ("phase", {"phase": "training"}),
            ("progress", PROGRESS),
            ("log", {"text": "epoch 1 of 4: train_loss 0.5", "level": "info", "stage": "training"}),
            ("log", {"text": "training took 3.0 s", "level": "info", "stage": "training"}),
            ("log", {"text": "int8 is left out: [it] differs", "level": "warning", "stage": "verifying"}),
        ]
        return iter([Event(number, kind, data | {"event": kind}) for number, (kind, data) in enumerate(told, 1)])


def test_whoever_watches_a_training_sees_how_long_it_still_takes() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)

    watch(OnItsWay(), "job_0", console=console)

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "about 13 min left" in text
    assert "eta_s" not in text
    assert "event progress" not in text
    assert "% 0:00:00 steps · epoch 1/4" in text
    assert "  epoch 1 of 4: train_loss 0.5\n" in text
    assert "  int8 is left out: [it] differs\n" in text
    assert "training took" not in text  # the phase's bar shows it


def test_in_a_pipe_every_line_of_the_log_is_a_line_without_colours() -> None:
    console = Console(file=io.StringIO(), width=80)

    watch(OnItsWay(), "job_0", console=console)

    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines == [
        "  training",
        "  epoch 1 of 4: train_loss 0.5",
        "  training took 3.0 s",
        "  int8 is left out: [it] differs",
        "job job_0 succeeded",
    ]
