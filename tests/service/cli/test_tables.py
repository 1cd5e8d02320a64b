"""Tables at any width: no figure, name or id is ever cut, whatever the terminal."""

import io
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from service.cli import output
from service.cli.screen import Screen
from service.cli.tables import facts, sheet
from service.cli.watch import WholeFacts

ID = "job_01hzx3v7k2m4n6p8q0r2s4t6v8"
COLUMNS = ("variant", "id", "img/s at 1", "p95", "made by", "memory")
ROWS = [
    ("fp32", ID, "172", "8.63", "training", "1210"),
    ("pruned-mixed-int8", ID.upper(), "12600", "0.07", "mixed_int8 of pruned, calibration entropy", "412"),
]


def shown(renderable: Any, *, width: int, terminal: bool = True) -> str:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, soft_wrap=not terminal
    )
    console.print(renderable, crop=False)
    return console.file.getvalue()  # type: ignore[attr-defined]


def words(text: str) -> list[str]:
    return text.split()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 250])
def test_every_figure_and_id_is_whole_at_any_width(width: int) -> None:
    text = shown(sheet("Speed", COLUMNS, ROWS, right=("p95",), prose=("made by",)), width=width)

    wanted = {cell for row in ROWS for name, cell in zip(COLUMNS, row, strict=True) if name != "made by"}
    assert wanted - set(words(text)) == set()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_is_no_wider_than_the_terminal(width: int) -> None:
    text = shown(sheet("Speed", COLUMNS, ROWS, prose=("made by",)), width=width)

    assert max(cell_len(line.rstrip()) for line in text.splitlines()) <= width


def test_blocks_of_columns_repeat_the_key() -> None:
    text = shown(sheet("Speed", COLUMNS, ROWS, prose=("made by",)), width=60)

    assert len([line for line in text.splitlines() if line.startswith(" pruned-mixed-int8 ")]) > 1


def test_a_wide_terminal_has_one_line_for_each_row() -> None:
    text = shown(sheet("Speed", COLUMNS, ROWS, prose=("made by",)), width=250)

    assert [line.split()[-1] for line in text.splitlines() if line.startswith((" fp32", " pruned"))] == ["1210", "412"]


@pytest.mark.parametrize("width", [10, 80])
def test_in_a_pipe_each_row_is_one_line_of_cells_between_tabs(width: int) -> None:
    rows = [("first\nsecond", "[red]a\tb[/]"), ("x" * 500, "")]

    lines = shown(sheet("Two [bold]words", ("one", "two"), rows), width=width, terminal=False).splitlines()

    assert lines == ["# Two words", "one\ttwo", "first; second\ta b", "x" * 500 + "\t"]


def test_in_a_pipe_facts_are_pairs() -> None:
    assert shown(facts("", [("state", "failed: " + "why " * 50)]), width=40, terminal=False).count("\n") == 1


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_list_of_jobs_shows_whole_ids(width: int) -> None:
    job = {
        "id": ID,
        "name": "a-rather-long-name-of-a-model-that-somebody-gave",
        "kind": "train",
        "state": "running",
        "phase": "training",
        "progress": {"fraction": 0.333},
        "result": None,
        "problem": None,
        "created_at": "2026-11-22T10:00:00+00:00",
    }

    text = shown(output.job_table([job, job | {"id": ID.upper()}]), width=width)

    assert {ID, ID.upper(), "33%", job["name"]} - set(words(text)) == set()


@pytest.mark.parametrize(("width", "expected"), [(9, "loss 0.5"), (25, "loss 0.5 · epoch 3/20"), (3, "")])
def test_facts_of_a_progress_bar_are_whole_or_left_out(width: int, expected: str) -> None:
    assert shown(WholeFacts("loss 0.5 · epoch 3/20 · images_per_s 172.4"), width=width).strip() == expected


def test_a_long_word_on_a_narrow_terminal_is_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.width, screen.soft_wrap = 20, False

    screen.print(f"file (SHA-256 {ID}{ID})")

    assert f"{ID}{ID})" in capsys.readouterr().out.split()
