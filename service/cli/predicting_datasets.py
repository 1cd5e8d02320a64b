"""`espalier predict-dataset`: a job that predicts many examples, and the table that it makes."""

from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli import models, sending, submitting
from service.cli.session import Session, refuse, session_of

Document = dict[str, Any]


class Format(StrEnum):
    """Format of a table."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class Split(StrEnum):
    """Which examples of a dataset."""

    ALL = "all"
    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class Provider(StrEnum):
    """Where a file runs."""

    CPU = "cpu"
    CUDA = "cuda"


def predict_dataset(
    context: typer.Context,
    model: models.Reference,
    dataset: Annotated[
        str,
        typer.Argument(metavar="DATASET", help="id of a dataset; or an archive or a folder of files, without labels"),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="file to write; left out: MODEL-VERSION-DATASET.FORMAT")
    ] = None,
    *,
    format_: Annotated[Format, typer.Option("--format", help="format of the table")] = Format.CSV,
    split: Annotated[Split, typer.Option(help="which examples of the dataset")] = Split.ALL,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="number of classes or labels per row; left out: 5 classes, or all labels")
    ] = None,
    provider: Annotated[
        Provider | None, typer.Option(help="where the file runs; left out: on the worker's GPU if it has one")
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(help="encoding of a table, and of files that are texts, such as gb18030; left out: UTF-8"),
    ] = None,
    key: submitting.Key = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only check the request, and show what would be done")
    ] = False,
    wait: submitting.Wait = True,
) -> None:
    """Predict every example of a dataset, or every file of an archive or folder, and download the table."""
    session = session_of(context)
    version, variant = models.named(session.client, model)
    asked = {"variant": variant, "provider": provider and provider.value, "format": format_.value, "top_k": top_k}
    path = f"/models/{version['model']}/versions/{version['version']}:predict_dataset"
    params = {"dry_run": "true"} if dry_run else {}
    if (files := Path(dataset)).exists():
        if split is not Split.ALL:
            raise refuse("files without labels have no splits; leave --split out")
        answer = _send(session, path, files, key=key, params=params | _given(asked | {"encoding": encoding}))
    elif encoding is not None:
        raise refuse("a stored dataset has been read already; leave --encoding out")
    else:
        answer = session.client.post(path, asked | {"dataset": dataset, "split": split.value}, key=key, **params)
    if dry_run:
        submitting.show_meaning(session, answer)
        return
    submitting.see_through(session, answer, wait=wait)
    if wait:
        download(session, answer, output)


def download(session: Session, job: Document, output: Path | None) -> None:
    """Download the table that a job of predictions has made."""
    asked = job["parameters"] or {}
    if "format" not in asked:
        raise refuse(f"{job['id']} is a job of kind {job['kind']}; only `espalier predict-dataset` makes predictions")
    target = output or Path(f"{asked['model']}-{asked['version']}-{job['dataset'] or job['id']}.{asked['format']}")
    digest = session.client.download(f"/jobs/{job['id']}/predictions", target)
    session.show({"file": str(target), "sha256": digest}, f"{target} (SHA-256 {digest})")


def _send(session: Session, path: str, files: Path, *, key: str | None, params: dict[str, str]) -> Document:
    from service.cli import packing  # noqa: PLC0415  `--help` is spared rich

    with packing.packed(files, session=session) if files.is_dir() else nullcontext(files) as archive:
        return sending.send(session.client, path, archive, session=session, key=key, **params)


def _given(asked: Document) -> dict[str, str]:
    return {name: str(value) for name, value in asked.items() if value is not None}
