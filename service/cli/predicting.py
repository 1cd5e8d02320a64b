"""`espalier predict`: any number of files, folders and lines of JSON, in requests that the service accepts."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models_store.wording import inflected
from service.cli.session import Session, is_interactive, refuse, session_of

if TYPE_CHECKING:
    from service.cli.client import Client, Refused

Document = dict[str, Any]
Options = Mapping[str, float]
"""what a request has beside the model and the examples"""

MOST_FILES, MOST_BYTES = 64, 16 << 20  # of one request: well below what the service takes by default
MOST_EXPLAINED = 4
"""examples of one request whose answers the service explains"""
TOO_MUCH = {"too_many_inputs", "predict_timeout"}
TOO_LARGE_STATUS = 413
HEAD_BYTES = 512
JSON_LINES = ".jsonl"


@dataclass(frozen=True)
class Line:
    """A line of a file of JSON Lines: one example as a JSON value."""

    path: Path
    number: int
    value: Any
    size_bytes: int

    def __str__(self) -> str:
        """Return the place, as compilers name it."""
        return f"{self.path}:{self.number}"


Example = Path | Line


@dataclass
class Answers:
    """Predictions, and the reasons for refused examples."""

    files: list[str] = field(default_factory=list)
    predictions: list[Document] = field(default_factory=list)
    refused: list[Document] = field(default_factory=list)
    model: Document = field(default_factory=dict)

    def add(self, examples: Sequence[Example], answer: Document) -> None:
        """Add the answer to one request."""
        self.files += map(str, examples)
        self.predictions += answer["predictions"]
        kept = ("model", "version", "variant", "provider", "calibration")
        self.model = {name: answer[name] for name in kept if name in answer}

    @property
    def reference(self) -> str | None:
        """Return the file that answered first: it answers all requests, also when an alias moves between them."""
        return "{model}:{version}/{variant}".format(**self.model) if self.model else None


def predict(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="NAME, NAME@ALIAS or NAME:VERSION, each with an optional /VARIANT")
    ],
    files: Annotated[
        list[Path], typer.Argument(help="files, folders of them, and files of JSON Lines with a value on each (.jsonl)")
    ],
    *,
    top_k: Annotated[int, typer.Option(min=1, help="number of likeliest classes or labels to show")] = 3,
    min_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="least probability of an answer; below it the model abstains")
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(min=0.5, max=0.995, help="show a set or an interval that holds the truth at least this often"),
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="write a heat map of each answer to this folder, hot where the answer depends on the example",
        ),
    ] = None,
) -> None:
    """Print the class, the labels or the number of each example; exit code 1 if one could not be read."""
    from models_store.tasks import rooms  # noqa: PLC0415  `--help` is spared it

    session = session_of(context)
    examples, others = _examples(files)
    if others:
        typer.secho(
            inflected(
                others,
                f"1 file in these folders is no {rooms.example()} and is left out",
                f"{others} files in these folders are not {rooms.examples()} and are left out",
            ),
            fg="yellow",
            err=True,
        )
    if not examples:
        raise refuse(f"there is no {rooms.example()} in {', '.join(map(str, files))}")
    wanted = None if explain is None else True
    options = {"top_k": top_k, "min_confidence": min_confidence, "coverage": coverage, "explain": wanted}
    answers = ask(session, model, examples, {name: value for name, value in options.items() if value is not None})
    if explain is not None:
        write_heat_maps(answers, explain)
    for each in answers.refused:
        typer.secho(f"{each['file']}: {each['message']}", fg="red", err=True)
    if answers.model:
        from service.cli.prediction_table import prediction_table  # noqa: PLC0415  `--help` is spared rich

        document = answers.model | {
            "predictions": answers.predictions,
            "files": answers.files,
            "refused": answers.refused,
        }
        session.show(document, prediction_table(document, answers.files))
    if answers.refused:
        raise typer.Exit(1)


def ask(session: Session, model: str, examples: Sequence[Example], options: Options) -> Answers:
    """Return the service's answers for all examples, with a progress bar where somebody watches."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415  slow to import

    answers = Answers()
    columns = (TextColumn("predicting"), BarColumn(), MofNCompleteColumn())
    shown = is_interactive() and not session.as_json and len(examples) > MOST_FILES
    with Progress(*columns, console=session.console, disable=not shown, transient=True) as progress:
        bar = progress.add_task("predict", total=len(examples))
        for batch in batches(examples, most=MOST_EXPLAINED if "explain" in options else MOST_FILES):
            _ask(session.client, model, batch, answers, options)
            progress.advance(bar, len(batch))
    return answers


def write_heat_maps(answers: Answers, folder: Path) -> None:
    """Write the heat map of each explained answer to the folder, as NUMBER-NAME.png; the answer then has its path."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (file, prediction) in enumerate(zip(answers.files, answers.predictions, strict=True), 1):
        picture = folder / f"{number}-{Path(file).stem}.png"
        picture.write_bytes(base64.b64decode(prediction["explanation"].pop("heat_map")))
        prediction["explanation"]["file"] = str(picture)


def batches(examples: Sequence[Example], *, most: int) -> Iterator[list[Example]]:
    """Yield the examples in order, in groups of one kind and of bounded number and size; a larger example is alone."""
    batch: list[Example] = []
    size_bytes = 0
    for example in examples:
        more_bytes = example.size_bytes if isinstance(example, Line) else example.stat().st_size
        is_full = len(batch) == most or size_bytes + more_bytes > MOST_BYTES
        if batch and (is_full or isinstance(example, Line) != isinstance(batch[0], Line)):
            yield batch
            batch, size_bytes = [], 0
        batch.append(example)
        size_bytes += more_bytes
    if batch:
        yield batch


def _ask(client: "Client", model: str, batch: list[Example], answers: Answers, options: Options) -> None:
    """Request one group; unreadable examples are left out and recorded, and a group that is too large is halved."""
    from service.cli.client import Refused  # noqa: PLC0415  httpx is slow to import

    while batch:
        try:
            answers.add(batch, _answer(client, answers.reference or model, batch, options))
        except Refused as refusal:
            unreadable = _unreadable(refusal, batch)
            if not unreadable:
                if not _is_too_much(refusal) or len(batch) == 1:
                    raise
                middle = len(batch) // 2
                for half in (batch[:middle], batch[middle:]):
                    _ask(client, model, half, answers, options)
                return
            answers.refused += [{"file": str(batch[place]), "message": why} for place, why in unreadable.items()]
            batch = [example for place, example in enumerate(batch) if place not in unreadable]
        else:
            return


def _answer(client: "Client", model: str, batch: Sequence[Example], options: Options) -> Document:
    files = [(each.name, each.read_bytes()) for each in batch if isinstance(each, Path)]
    if files:
        return client.predict(model, files, **options)
    return client.predict_values(model, [each.value for each in batch if isinstance(each, Line)], **options)


def _is_too_much(refusal: "Refused") -> bool:
    codes = {str(each.get("code")) for each in [refusal.problem, *refusal.problem.get("errors", [])]}
    return bool(codes & TOO_MUCH) or refusal.problem.get("status") == TOO_LARGE_STATUS


def _unreadable(refusal: "Refused", batch: Sequence[Example]) -> dict[int, str]:
    """Return the examples that a refusal names by their position in the request, with the reason."""
    found: dict[int, str] = {}
    for error in refusal.problem.get("errors", []):
        _, place, position, *_ = [*str(error.get("pointer", "")).split("/"), "", ""]
        if place in {"files", "inputs"} and position.isdigit() and int(position) < len(batch):
            found.setdefault(int(position), str(error.get("message", "it can't be read")))
    return found


def _examples(paths: Sequence[Path]) -> tuple[list[Example], int]:
    """Return what was named and the examples in folders, in order; and how many other files these hold."""
    from models_store.archives.system_files import is_hidden, is_system  # noqa: PLC0415  as above
    from models_store.tasks import rooms  # noqa: PLC0415  `--help` is spared them
    from service.cli.folders import files_in  # noqa: PLC0415  as above

    examples: dict[Path, None] = {}
    lines: list[Line] = []
    others = 0
    for path in paths:
        if path.is_dir():
            for found in files_in(path):
                inner = PurePosixPath(found.relative_to(path).as_posix())
                if is_hidden(inner.parent):
                    continue
                with found.open("rb") as file:
                    head = file.read(HEAD_BYTES)
                if any(each.is_example(inner, head) for each in rooms.TASKS) and not is_system(inner):
                    examples[found] = None
                else:
                    others += 1
        elif path.suffix == JSON_LINES and path.is_file():
            lines += _lines(path)
        elif path.is_file():
            examples[path] = None
        else:
            raise refuse(f"{path}: there is no such file or folder")
    return [*examples, *lines], others


def _lines(path: Path) -> Iterator[Line]:
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                yield Line(path, number, json.loads(text), len(text))
            except ValueError as error:
                raise refuse(f"{path}:{number}: this line is not JSON ({error})") from error
