"""`espalier predict`: any number of files, folders, rows, lines and texts, in requests that the service accepts."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models_store.wording import inflected
from service.cli.examples import Example, Value, in_files, rows_of, texts
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


@dataclass
class Answers:
    """Predictions, and the reasons for refused examples."""

    examples: list[Example] = field(default_factory=list)
    predictions: list[Document] = field(default_factory=list)
    refused: list[Document] = field(default_factory=list)
    model: Document = field(default_factory=dict)

    def add(self, examples: Sequence[Example], answer: Document) -> None:
        """Add the answer to one request."""
        self.examples += examples
        self.predictions += answer["predictions"]
        kept = ("model", "version", "variant", "provider", "calibration")
        self.model = {name: answer[name] for name in kept if name in answer}

    @property
    def files(self) -> list[str]:
        """Return where each example was given."""
        return [*map(str, self.examples)]

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
        list[Path] | None,
        typer.Argument(
            help="files, folders of them, JSON Lines (.jsonl) with a value on each, tables (.csv, .tsv) with a row "
            "for each, and - for standard input with a text on each line"
        ),
    ] = None,
    *,
    text: Annotated[list[str] | None, typer.Option("--text", help="a text; may be given again")] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", help="a file with a text on each line, a table (.csv, .tsv), or JSON Lines (.jsonl)"),
    ] = None,
    encoding: Annotated[
        str, typer.Option(help="encoding of tables and files of lines, such as gb18030; nothing is guessed")
    ] = "utf-8",
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
            help="write to this folder what each answer depends on: a heat map, or the weights of the words in JSON",
        ),
    ] = None,
) -> None:
    """Print the class, the labels or the number of each example; exit code 1 if one could not be read."""
    from models_store.tasks import rooms  # noqa: PLC0415  `--help` is spared it

    session = session_of(context)
    if not (files or text or file):
        raise refuse("there is nothing to predict: give files, --text, --file, or - for standard input")
    examples, others = in_files(files or [], encoding=encoding)
    examples += [row for path in file or [] for row in rows_of(path, encoding=encoding)]
    examples += texts(text or [])
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
        raise refuse(f"there is no {rooms.example()} in {', '.join(map(str, [*(files or []), *(file or [])]))}")
    wanted = None if explain is None else True
    options = {"top_k": top_k, "min_confidence": min_confidence, "coverage": coverage, "explain": wanted}
    answers = ask(session, model, examples, {name: value for name, value in options.items() if value is not None})
    if explain is not None:
        write_explanations(answers, explain)
    for each in answers.refused:
        typer.secho(f"{each['file']}: {each['message']}", fg="red", err=True)
    if answers.model:
        from service.cli.prediction_table import prediction_table, text_cell  # noqa: PLC0415  `--help` is spared rich

        document = answers.model | {
            "predictions": answers.predictions,
            "files": answers.files,
            "refused": answers.refused,
        }
        whole = not session.console.is_terminal
        texts_shown = [each.text for each in answers.examples if isinstance(each, Value) and each.text is not None]
        if len(texts_shown) == len(answers.examples):
            shown, column = [text_cell(each, whole=whole) for each in texts_shown], "text"
        else:
            shown, column = answers.files, "file"
        session.show(document, prediction_table(document, shown, column=column))
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


def write_explanations(answers: Answers, folder: Path) -> None:
    """Write what each answer depends on to the folder, as NUMBER-NAME.png or .json; the answer then has its path."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (example, prediction) in enumerate(zip(answers.examples, answers.predictions, strict=True), 1):
        explanation = prediction["explanation"]
        name = example.stem if isinstance(example, Path) else "text"
        if "heat_map" in explanation:
            path = folder / f"{number}-{name}.png"
            path.write_bytes(base64.b64decode(explanation.pop("heat_map")))
        else:
            path = folder / f"{number}-{name}.json"
            path.write_text(json.dumps(explanation, ensure_ascii=False), encoding="utf-8")
        explanation["file"] = str(path)


def batches(examples: Sequence[Example], *, most: int) -> Iterator[list[Example]]:
    """Yield the examples in order, in groups of one kind and of bounded number and size; a larger example is alone."""
    batch: list[Example] = []
    size_bytes = 0
    for example in examples:
        more_bytes = example.size_bytes if isinstance(example, Value) else example.stat().st_size
        is_full = len(batch) == most or size_bytes + more_bytes > MOST_BYTES
        if batch and (is_full or isinstance(example, Value) != isinstance(batch[0], Value)):
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
    return client.predict_values(model, [each.value for each in batch if isinstance(each, Value)], **options)


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
