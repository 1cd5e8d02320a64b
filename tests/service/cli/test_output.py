"""Tables for people, of each kind of dataset and answer."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from service.cli import dataset_output, output, packing, sending
from service.cli.client import Client
from service.cli.prediction_table import prediction_table
from service.cli.session import Session


def shown(table: Any) -> str:
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


ANSWER = {"model": "leaves", "version": 1, "variant": "fp32", "provider": "CPU"}
TOP = [{"label": "oak", "probability": 0.9}, {"label": "elm", "probability": 0.6}, {"label": "ash", "probability": 0.1}]


@pytest.mark.parametrize(
    ("said", "sample", "expected"),
    [
        (
            {"label": "oak", "probability": 0.9, "top": TOP},
            {"label": "elm"},
            ["oak", "0.900", "wrong: elm", "ash 0.100"],
        ),
        ({"labels": ["oak", "elm"], "top": TOP}, {"labels": ["elm", "oak"]}, ["oak, elm", "0.900, 0.600", "right"]),
        ({"labels": [], "top": TOP[2:]}, {"labels": ["oak"]}, ["wrong: oak", "ash 0.100"]),
        ({"value": 1987.25}, {"value": 1990.0}, ["1987.25", "true: 1990"]),
    ],
)
def test_a_prediction_is_shown_beside_what_is_true(
    said: dict[str, Any], sample: dict[str, Any], expected: list[str]
) -> None:
    truth = {"label": None, "labels": None, "value": None} | sample

    text = shown(prediction_table(ANSWER | {"predictions": [said]}, ["1.png"], [truth]))

    assert [part for part in expected if part not in text] == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"label": "oak", "probability": 0.9, "top": TOP, "set": ["oak", "elm"]}, ["oak", "0.900", "oak, elm"]),
        ({"abstained": True, "probability": 0.9, "top": TOP[:2], "set": []}, ["none", "oak 0.900 · elm 0.600"]),
        ({"value": 1987.0, "interval": [1985.5, 1988.5]}, ["1987", "1985.5 to 1988.5"]),
    ],
)
def test_a_prediction_with_a_coverage_shows_its_set(said: dict[str, Any], expected: list[str]) -> None:
    calibration = {"coverage": 0.9, "test_coverage": 0.91}

    text = shown(prediction_table(ANSWER | {"predictions": [said], "calibration": calibration}, ["1.png"]))

    assert [part for part in [*expected, "set"] if part not in text] == []


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"model": "leaves", "version": 2}, "leaves:2"),
        ({"model": None, "version": None, "value": 0.5, "pruned": True}, "0.5000, stopped early"),
        ({"model": None, "runs": [{"state": "succeeded"}, {"state": "failed"}], "summary": {}}, "1 of 2 runs"),
        ({"model": None}, "-"),
        (None, "-"),
    ],
)
def test_a_jobs_outcome_is_its_version_its_figure_or_its_runs(result: dict[str, Any] | None, expected: str) -> None:
    assert output.outcome({"result": result, "problem": None}) == expected


def test_a_dataset_of_numbers_shows_where_they_lie_and_how_many_images_there_are() -> None:
    dataset = {
        "name": "ages",
        "id": "ds_1",
        "target": "number",
        "classes": [],
        "counts": {"train": {}, "val": {}, "test": {}},
        "splits": {"train": 80, "val": 11, "test": 9},
        "images": 100,
        "examples": "texts",
        "split": "made",
        "values": {"minimum": 3.5, "maximum": 90, "mean": 41.25, "deviation": 9},
    }

    text = shown(dataset_output.dataset_card(dataset))

    assert [part for part in ("80", "11", "9", "100 texts", "3.5 to 90, mean 41.25") if part not in text] == []


def test_an_alias_is_shown_with_its_shares_and_its_shadow() -> None:
    targets = [{"version": 3, "variant": None, "share": 0.9}, {"version": 4, "variant": "int8", "share": 0.1}]
    shadow = {"version": 5, "variant": None, "share": 0.2, "compared": 200, "agreement": 0.985}
    shadow |= {"run_ms": 5.0, "target_run_ms": 2.5}
    document = {"targets": targets, "shadow": shadow, "pinned": True}

    words = output.alias_words("leaves@live", "leaves", document)

    assert words == (
        "leaves@live is leaves:3 for 90% of the requests and leaves:4/int8 for 10% of the requests, pinned; leaves:5 "
        "is its shadow for 20%: 98.5% of 200 answers are the same, a run takes 5.00 ms (target 2.50 ms)"
    )


def test_a_model_is_shown_with_what_its_aliases_pin() -> None:
    aliases = {"best": {"version": 2, "variant": "int8"}, "default": {"version": 1, "variant": None}}
    model = {"name": "leaves", "versions": [{"version": 2}], "aliases": aliases, "created_at": None}

    assert "@best=2/int8 @default=1 " in shown(output.model_table([model]))


REPORT = {
    "checks": [],
    "passed": [
        {"check": "undecodable", "count": 2000, "message": "2,000 images were read, and all of them can be decoded"},
        {"check": "duplicates_across_splits", "count": 2000, "message": "no image is in two splits (1,200 in train)"},
    ],
}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_what_is_in_order_is_told_whole_at_any_width(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)

    console.print(dataset_output.dataset_report(REPORT))

    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    told = " ".join(" ".join(lines).split())
    assert "no findings" in told
    assert all(f"{each['check']} {each['message']}" in told for each in REPORT["passed"])  # type: ignore[index]
    assert max(map(len, lines)) <= width


def test_the_archive_of_a_folder_has_the_folders_name_however_long(tmp_path: Path) -> None:
    for name in ("leaves", "x" * 255):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "1.png").write_bytes(b"1")

        with packing.packed(folder, session=Session("http://127.0.0.1:9", "", as_json=True)) as archive:
            assert archive.name == f"{name[:40]}.tar"


def test_a_fault_of_many_files_is_printed_once_with_some_of_their_names() -> None:
    console = Console(file=io.StringIO(), width=200)
    fault = {"message": "it is in no class folder", "allowed": None}
    errors = [fault | {"pointer": f"{number}.png"} for number in range(50)]

    output.print_problem(console, {"title": "Unusable", "detail": "50 images are nowhere", "errors": errors})

    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines == ["Unusable", "50 images are nowhere", "  0.png, 1.png, 2.png and 47 more: it is in no class folder"]


def test_brackets_in_a_files_name_are_shown_while_it_is_packed_and_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "[b]leaves[_b]").mkdir()
    (tmp_path / "[b]leaves[_b]" / "1.png").write_bytes(b"1")
    monkeypatch.setattr(packing, "is_interactive", lambda: True)
    monkeypatch.setattr(sending, "is_interactive", lambda: True)
    session = Session("http://127.0.0.1:9", "", as_json=False)
    session.console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)

    with packing.packed(tmp_path / "[b]leaves[_b]", session=session) as archive:
        sending.send(Sent(), "/datasets", archive, session=session)

    text = session.console.file.getvalue()  # type: ignore[attr-defined]
    assert "packing [b]leaves[_b] " in text
    assert "uploading [b]leaves[_b].tar " in text


class Sent(Client):
    """A service that takes any file."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9")

    def upload(self, path: str, file: Path, **_: Any) -> Any:
        return {"path": path, "name": file.name}
