"""`espalier up` and `espalier demo`: the local stack, alone or with the demo on it."""

import os
import shlex
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.session import existing, own_name, refuse, session_of

if TYPE_CHECKING:
    from service.cli.stack import Stack

Home = Annotated[
    Path | None,
    typer.Option(help="folder of the database, the models and the logs; left out: ESPALIER_HOME, or .espalier"),
]
Port = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, help="port of the API, 0 for any free port; left out: 8000, or a free port if it is taken"
    ),
]

LOOK_S = 0.5


def up(context: typer.Context, home: Home = None, port: Port = None) -> None:
    """Start the local stack and leave it running; Ctrl-C stops every process it started."""
    _obey_interrupts()
    from service.cli.places import home_of  # noqa: PLC0415  `--help` is spared what only this needs

    began = time.monotonic()
    session, folder = session_of(context), home_of(home)

    def tell(text: str) -> None:
        typer.echo(text, err=session.as_json)

    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise refuse(f"{folder} can't be used as a folder ({error.strerror}): give another --home") from error
    tell(f"starting Espalier on {folder}")
    from models_store.settings import Settings  # noqa: PLC0415  as above
    from service.cli.processes import StackError  # noqa: PLC0415  as above
    from service.cli.stack import StopRequested, running  # noqa: PLC0415  as above

    settings = Settings(espalier_home=folder)
    try:
        with running(settings, port=port, tell=tell) as stack:
            if session.as_json:
                session.emit({"url": stack.url, "docs": f"{stack.url}/docs", "home": str(stack.home)})
            else:
                place = "" if folder == home_of(None) else f"ESPALIER_HOME={shlex.quote(str(folder))} "
                _tell_what_next(stack, place, wanted=settings.device, after_s=time.monotonic() - began)
            while True:
                stack.tend()
                time.sleep(LOOK_S)
    except StopRequested:
        tell("stopped")
    except StackError as error:
        raise refuse(str(error)) from error


def demo(
    context: typer.Context,
    task: Annotated[
        str | None, typer.Option(help="kind of the examples; left out: the first; an unknown one lists them")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="your own archive: zip or tar (plain, gz, bz2, xz, zst) of class folders")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=32, max=1024, help="side of the input, in pixels; left out: chosen by the recipe"),
    ] = None,
    *,
    keep: Annotated[bool, typer.Option("--keep", help="keep the stack running at the end, in ./.espalier")] = False,
) -> None:
    """Upload a real set of examples, train, shrink, and classify unseen ones.

    --data uses your own, with only defaults.
    """
    _obey_interrupts()
    from service.cli.demo import run  # noqa: PLC0415  `--help` is spared what only this needs

    run(session_of(context), task=task, data=None if data is None else existing(data), size=size, keep=keep)


def _obey_interrupts() -> None:
    """End at SIGINT even before the start, and where a shell's `&` has set it to be ignored."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _tell_what_next(stack: "Stack", place: str, *, wanted: str, after_s: float) -> None:
    device = "on the GPU" if stack.device == "cuda" else "on the CPU"
    why = ": no GPU answers here" if wanted == "auto" and stack.device == "cpu" else ""
    typer.secho(f"Espalier is up after {after_s:.1f} s, {device}{why}", fg="green", bold=True)
    sample = Path(__file__).resolve().parents[2] / "samples" / "demo.zip"
    shown = os.path.relpath(sample) if sample.exists() else "IMAGES.zip"
    for name, value in (
        ("API", stack.url),
        ("API docs", f"{stack.url}/docs"),
        *([("gRPC", stack.grpc_address)] if stack.grpc_address else []),
        ("data, logs", str(stack.home)),
        ("try next", f"{place}{own_name()} datasets upload {shown}"),
        ("stop", "Ctrl-C"),
    ):
        typer.echo(f"  {name:<11} {value}")
