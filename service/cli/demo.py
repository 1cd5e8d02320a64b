"""Demo: the whole journey on a stack of its own, from upload and training to int8 and predictions."""

import contextlib
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import typer
from rich.console import Console
from rich.markup import escape

from models_store.settings import Settings
from models_store.wording import counted
from service.cli import output, variants
from service.cli.client import Client, ClientError, Refused
from service.cli.datasets import send
from service.cli.places import home_of
from service.cli.processes import StackError
from service.cli.session import Session, refuse
from service.cli.stack import Stack, StopRequested, Tell, running
from service.cli.watch import watch

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "demo.zip"
HELD_OUT = 10
LOOK_S = 0.5

Document = dict[str, Any]


def run(session: Session, *, data: Path | None, size: int | None, keep: bool) -> None:
    """Run the demo to its end.

    Raises:
        typer.Exit: with 1 if a step failed, with 130 if it was interrupted.
    """
    archive = data or SAMPLE
    if not archive.is_file():
        raise refuse(f"{archive} does not exist: run the demo from a checkout, or give --data")
    began = time.monotonic()
    console = session.console
    console.print("[bold]1. A stack of its own[/]")
    try:
        with _home(keep=keep) as home, running(_settings(home), port=None, tell=_plainly(console)) as stack:
            console.print(f"The stack is up after {time.monotonic() - began:.1f} s · {stack.url}")
            whose: Literal["ours", "theirs"] = "ours" if data is None else "theirs"
            _journey(session, stack, archive=archive, size=size, whose=whose)
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


def _journey(
    session: Session, stack: Stack, *, archive: Path, size: int | None, whose: Literal["ours", "theirs"]
) -> None:
    console, client = session.console, Client(stack.url)
    console.print(f"\n[bold]2. Upload[/] · POST /datasets · {archive.name}")
    dataset = send(client, archive, name=None, undecodable="refuse", session=session)
    console.print(output.dataset_card(dataset))
    console.print(output.dataset_report(client.get(f"/datasets/{dataset['id']}/report")))

    job = client.post("/train", spec_for(dataset, size=size, whose=whose))
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

    console.print("[bold]5. Images that it has never seen[/] · POST /predict")
    held_out = client.get(f"/datasets/{dataset['id']}/samples", split="test", limit=HELD_OUT)["items"]
    files = [sample["file"] for sample in held_out]
    answer = client.predict(model, list(zip(files, read_members(archive, files), strict=True)), top_k=3)
    console.print(output.prediction_table(answer, files, held_out))
    console.print(f"Server-Timing: {answer['server_timing']}")


def _plainly(console: Console) -> Tell:
    return lambda text: console.print(text, markup=False)


def _recipe(spec: Document) -> str:
    """Return what is trained, in a line."""
    backbone, training = spec["backbone"], spec["training"]
    start = "from scratch" if backbone["weights"] is None else f"from {backbone['weights']} weights"
    kept = "only its head trained" if backbone["freeze"] == "backbone" else f"freeze: {backbone['freeze']}"
    epochs = counted(training["epochs"], "epoch")
    return f"{backbone['kind']} {start}, {kept}, at {spec['input']['size']} px, {epochs}"


def spec_for(dataset: Document, *, size: int | None, whose: Literal["ours", "theirs"]) -> Document:
    """Return the training spec: for somebody's own images the defaults alone, for the sample a short one."""
    spec: Document = {"name": "demo", "dataset": dataset["id"], "input": {"size": size}}
    if whose == "theirs":
        return spec
    return spec | {
        "input": {"size": size or 128},
        "backbone": {"kind": "efficientnet_lite0", "weights": "imagenet", "freeze": "backbone"},
        "regularizers": [{"kind": "dropout", "probability": 0.5}],
        "training": {"epochs": 40, "batch_size": 32},
    }


def read_members(archive: Path, names: Sequence[str]) -> list[bytes]:
    """Return the bytes of some files of a zip or tar, in the order of the names."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            return [opened.read(name) for name in names]
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as opened_tar:
        for member in opened_tar:
            name = member.name.removeprefix("./")
            if name in names and (file := opened_tar.extractfile(member)) is not None:
                found[name] = file.read()
    return [found[name] for name in names]


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
