"""Demo: the whole journey on a stack of its own, from upload and training to int8 and predictions."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from models_store.settings import Settings
from models_store.tasks import rooms
from models_store.tasks.task import Contract
from models_store.wording import counted
from service.cli import dataset_output, output, variants
from service.cli.client import Client, ClientError, Refused
from service.cli.datasets import send
from service.cli.places import home_of
from service.cli.prediction_table import prediction_table, text_cell
from service.cli.processes import StackError
from service.cli.session import Session, refuse
from service.cli.stack import Stack, StopRequested, Tell, running
from service.cli.watch import watch

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
HELD_OUT = 10
LOOK_S = 0.5

Document = dict[str, Any]


def run(session: Session, *, task: str | None, data: Path | None, size: int | None, keep: bool) -> None:
    """Run the demo to its end; `task` is the word for an example of one.

    Raises:
        typer.Exit: with 1 if a step failed, with 130 if it was interrupted.
    """
    demo = _contract(task).demo
    assert demo is not None, "only a task with a demo is chosen"
    archive = data or SAMPLES / demo.file
    if not archive.is_file():
        raise refuse(f"{archive} does not exist: run the demo from a checkout, or give --data")
    began = time.monotonic()
    console = session.console
    console.print("[bold]1. A stack of its own[/]")
    try:
        with _home(keep=keep) as home, running(_settings(home), port=None, tell=_plainly(console)) as stack:
            console.print(f"The stack is up after {time.monotonic() - began:.1f} s · {stack.url}")
            asked = demo.spec if data is None else {}
            _journey(session, stack, archive=archive, asked=asked if size is None else _sized(asked, size))
            console.print(f"\n[bold green]Done[/] in {time.monotonic() - began:.0f} s. API docs: {stack.url}/docs")
            if keep:
                console.print(f"The stack keeps running on {home}; Ctrl-C stops it.")
                _stay(stack)
            console.print("The stack stops now; `make up` starts one that keeps running.")
    except StopRequested as error:
        console.print("stopped")
        raise typer.Exit(130) from error
    except StackError as error:
        raise refuse(str(error)) from error
    except ClientError as error:
        if isinstance(error, Refused):
            output.print_problem(console, error.problem)
        raise refuse(str(error)) from error


def _contract(word: str | None) -> Contract:
    """Return the task that learns from such examples; the first one if none is named."""
    known = {contract.example: contract for contract in rooms.TASKS if contract.demo is not None}
    if word is not None and word not in known:
        raise refuse(f"there is no demo of {word!r}; --task is {' or '.join(known)}")
    return known[word] if word else next(iter(known.values()))


def _sized(asked: Mapping[str, Any], size: int) -> Document:
    return {**asked, "input": {**asked.get("input", {}), "size": size}}


def _journey(session: Session, stack: Stack, *, archive: Path, asked: Mapping[str, Any]) -> None:
    console, client = session.console, Client(stack.url)
    console.print(f"\n[bold]2. Upload[/] · POST /datasets · {archive.name}")
    dataset = send(client, archive, name=None, undecodable="refuse", session=session)
    console.print(dataset_output.dataset_card(dataset))
    console.print(dataset_output.dataset_report(client.get(f"/datasets/{dataset['id']}/report")))

    job = client.post("/train", {"name": "demo", "dataset": dataset["id"], **asked})
    console.print(f"[bold]3. Train[/] · POST /train · {_recipe(job['spec'])}")
    for warning in job["warnings"]:
        console.print(f"[yellow]warning: {escape(warning)}")
    job = watch(client, job["id"], console=console, meanwhile=stack.tend)
    if job["state"] != "succeeded":
        log = client.text(f"/jobs/{job['id']}/logs", accept="text/plain")
        console.print(f"the job's log:\n{escape(log)}")
        raise typer.Exit(1)

    model, number = job["result"]["model"], job["result"]["version"]
    console.print(f"\n[bold]4. The model[/] · GET /models/{model}/versions/{number}")
    console.print(variants.version_card(client.get(f"/models/{model}/versions/{number}")))

    contract = rooms.contract_of(rooms.task_of(job["spec"]))
    console.print(f"[bold]5. {contract.examples.capitalize()} that it has never seen[/] · POST /predict")
    held_out = client.get(f"/datasets/{dataset['id']}/samples", split="test", limit=HELD_OUT)["items"]
    contents = [client.content(example["url"]) for example in held_out]
    files = [example["file"] for example in held_out]
    answer = client.predict(model, list(zip(files, contents, strict=True)), top_k=3)
    if contract.column is None:
        console.print(prediction_table(answer, files, held_out))
    else:
        texts = [text_cell(content.decode(), whole=False) for content in contents]
        console.print(prediction_table(answer, texts, held_out, column="text"))
    console.print(f"Server-Timing: {answer['server_timing']}")


def _plainly(console: Console) -> Tell:
    return lambda text: console.print(text, markup=False)


def _recipe(spec: Document) -> str:
    """Return what is trained, in a line."""
    backbone, training = spec["backbone"], spec["training"]
    parts = [backbone["kind"]]
    if "weights" in backbone:
        parts.append("from scratch" if backbone["weights"] is None else f"from {backbone['weights']} weights")
    if backbone.get("freeze"):
        parts.append("only its head trained" if backbone["freeze"] == "backbone" else f"freeze: {backbone['freeze']}")
    if "size" in spec["input"]:
        parts.append(f"at {spec['input']['size']} px")
    return ", ".join([*parts, counted(training["epochs"], "epoch")])


@contextlib.contextmanager
def _home(*, keep: bool) -> Iterator[Path]:
    if keep:
        yield home_of(None)
        return
    with tempfile.TemporaryDirectory(prefix="espalier-demo-") as folder:
        yield Path(folder)


def _settings(home: Path) -> Settings:
    """Return settings that keep everything in the demo's own folder, whatever the environment names."""
    places: dict[str, Any] = {"database_url": "", "blobs_url": "", "broker_url": "", "work_dir": None}
    return Settings(espalier_home=home, **places, api_keys="", allowed_hosts="", cors_origins="")


def _stay(stack: Stack) -> None:
    while True:
        stack.tend()
        time.sleep(LOOK_S)
