"""`espalier predict`: any number of images and folders, in requests that the service takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.session import Session, is_interactive, refuse, session_of

if TYPE_CHECKING:
    from service.cli.client import Client, Refused

Document = dict[str, Any]

MOST_FILES, MOST_BYTES = 64, 16 << 20  # of one request: well below what the service takes by default
TOO_MUCH = {"too_many_inputs", "too_many_pixels", "body_too_large", "predict_timeout"}
HEAD_BYTES = 32


@dataclass
class Answers:
    """What the service said of each file, and why it refused the others."""

    files: list[str] = field(default_factory=list)
    predictions: list[Document] = field(default_factory=list)
    refused: list[Document] = field(default_factory=list)
    model: Document = field(default_factory=dict)

    def add(self, files: Sequence[Path], answer: Document) -> None:
        """Add the answer to one request."""
        self.files += map(str, files)
        self.predictions += answer["predictions"]
        self.model = {name: answer[name] for name in ("model", "version", "variant", "provider")}

    @property
    def reference(self) -> str | None:
        """Return the file that answered first: it answers all requests, also when an alias moves between them."""
        return "{model}:{version}/{variant}".format(**self.model) if self.model else None


def predict(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="NAME, NAME@ALIAS or NAME:VERSION, each with an optional /VARIANT")
    ],
    files: Annotated[list[Path], typer.Argument(help="image files, and folders of them")],
    top_k: Annotated[int, typer.Option(min=1, help="most likely classes or labels to show")] = 3,
) -> None:
    """Print the class, the labels or the number of each image; exit code 1 when one could not be read."""
    session = session_of(context)
    images, others = _images(files)
    if others:
        typer.secho(f"{others} files in these folders are no images and are left out", fg="yellow", err=True)
    if not images:
        raise refuse(f"there is no image in {', '.join(map(str, files))}")
    answers = ask(session, model, images, top_k=top_k)
    for each in answers.refused:
        typer.secho(f"{each['file']}: {each['message']}", fg="red", err=True)
    if answers.model:
        from service.cli import output  # noqa: PLC0415  `--help` is spared rich

        document = answers.model | {
            "predictions": answers.predictions,
            "files": answers.files,
            "refused": answers.refused,
        }
        session.show(document, output.prediction_table(document, answers.files))
    if answers.refused:
        raise typer.Exit(1)


def ask(session: Session, model: str, images: Sequence[Path], *, top_k: int) -> Answers:
    """Return what the service says of all images, with a progress bar where somebody watches."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415  slow to import

    answers = Answers()
    columns = (TextColumn("predicting"), BarColumn(), MofNCompleteColumn())
    shown = is_interactive() and not session.as_json and len(images) > MOST_FILES
    with Progress(*columns, console=session.console, disable=not shown, transient=True) as progress:
        bar = progress.add_task("predict", total=len(images))
        for batch in batches(images):
            _ask(session.client, model, batch, answers, top_k=top_k)
            progress.advance(bar, len(batch))
    return answers


def batches(images: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield the images in order, in groups of bounded number and size; one that is larger alone."""
    batch: list[Path] = []
    size_bytes = 0
    for path in images:
        file_bytes = path.stat().st_size
        if batch and (len(batch) == MOST_FILES or size_bytes + file_bytes > MOST_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(path)
        size_bytes += file_bytes
    if batch:
        yield batch


def _ask(client: "Client", model: str, batch: list[Path], answers: Answers, *, top_k: int) -> None:
    """Ask for one group; what can't be read is left out and noted, and what is too much is asked for in halves."""
    from service.cli.client import Refused  # noqa: PLC0415  httpx is slow to import

    while batch:
        try:
            contents = [(path.name, path.read_bytes()) for path in batch]
            answers.add(batch, client.predict(answers.reference or model, contents, top_k=top_k))
        except Refused as refusal:
            unreadable = _unreadable(refusal, batch)
            if not unreadable:
                if not _codes(refusal) & TOO_MUCH or len(batch) == 1:
                    raise
                middle = len(batch) // 2
                for half in (batch[:middle], batch[middle:]):
                    _ask(client, model, half, answers, top_k=top_k)
                return
            answers.refused += [{"file": str(path), "message": why} for path, why in unreadable.items()]
            batch = [path for path in batch if path not in unreadable]
        else:
            return


def _codes(refusal: "Refused") -> set[str]:
    return {str(each.get("code")) for each in [refusal.problem, *refusal.problem.get("errors", [])]}


def _unreadable(refusal: "Refused", batch: Sequence[Path]) -> dict[Path, str]:
    """Return the files that a refusal names by their position in the request, with the reason."""
    found: dict[Path, str] = {}
    for error in refusal.problem.get("errors", []):
        place, _, position = str(error.get("pointer", "")).rpartition("/")
        if place == "/files" and position.isdigit() and int(position) < len(batch):
            found[batch[int(position)]] = str(error.get("message", "it can't be read"))
    return found


def _images(paths: Sequence[Path]) -> tuple[list[Path], int]:
    """Return the files that were named and the images in folders, in order; and how many other files these hold."""
    from models_store.archives.system_files import is_hidden, is_system  # noqa: PLC0415  as above
    from models_store.tasks.rooms import TASKS  # noqa: PLC0415  `--help` is spared them
    from service.cli.folders import files_in  # noqa: PLC0415  as above

    images: dict[Path, None] = {}
    others = 0
    for path in paths:
        if path.is_dir():
            for found in files_in(path):
                inner = PurePosixPath(found.relative_to(path).as_posix())
                if is_hidden(inner.parent):
                    continue
                with found.open("rb") as file:
                    head = file.read(HEAD_BYTES)
                is_one = any(contract.is_example(inner, head) for contract in TASKS)
                if is_one and not is_system(inner):
                    images[found] = None
                else:
                    others += 1
        elif path.is_file():
            images[path] = None
        else:
            raise refuse(f"{path}: there is no such file or folder")
    return list(images), others
