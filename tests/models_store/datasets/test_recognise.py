"""Which task an archive is of, where there are several: its members decide."""

import json
import zipfile

import pytest

from models_store.datasets.export import export
from models_store.datasets.store import Dataset
from models_store.datasets.stored_examples import StoredExamples
from models_store.tasks import rooms
from tests.models_store.datasets.dataset_stores import Store, a_table, checks, class_files
from tests.models_store.datasets.rows_of_numbers import FORMATS, ROWS, row_files


@pytest.fixture(autouse=True)
def two_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "TASKS", (*rooms.TASKS, ROWS))


def lines_of(store: Store, dataset: Dataset) -> list[dict[str, object]]:
    return [json.loads(line) for line in store.blobs.local(dataset.manifest_blob).read_text().splitlines()]


def test_an_archive_of_rows_is_a_dataset_of_rows(store: Store) -> None:
    dataset = store.ingest(row_files("down", "up"))

    assert (dataset.contract, dataset.card["examples"], dataset.card["largest"]) == (ROWS, "rows", 1.09)
    assert dataset.card["splits"] == {"train": 16, "val": 2, "test": 2}
    assert "20 rows were read, and all of them can be decoded" in str(dataset.report["passed"])
    line = lines_of(store, dataset)[0]
    assert (line["length"], set(line)) == (3, {"file", "member", "label", "split", "sha256", "length"})
    assert store.manifest(dataset)[0].facts == {"length": 3}


def test_rows_are_listed_with_their_findings_and_read_again(store: Store) -> None:
    files = row_files("down", "up") | {"up/short.json": b"[7]"}
    dataset, stored = store.ingest(files), StoredExamples(store.blobs)

    (short,), _ = stored.page(dataset, finding="short_rows")

    assert (short.entry.file, short.findings) == ("up/short.json", ("short_rows",))
    assert stored.content(dataset, short) == b"[7]"


def test_rows_with_a_table_of_numbers_are_exported_as_the_same_dataset(store: Store) -> None:
    rows = {f"{number}.json": json.dumps([number, 1]).encode() for number in range(20)}
    table = "file,value\n" + "".join(f"{name},{number / 2}\n" for number, name in enumerate(rows))
    dataset = store.ingest(a_table(table, rows))

    content = store.blobs.local(dataset.content_blob)
    pieces = export(store.blobs.local(dataset.manifest_blob), content, "number", ROWS)
    again, is_new = store.ingest_again(b"".join(pieces))

    assert (again.id, is_new, again.card["target"]) == (dataset.id, False, "number")


def test_a_row_that_cannot_be_read_is_refused_in_the_words_of_its_task(store: Store) -> None:
    files = row_files("down", "up")

    one = store.refusal(files | {"up/broken.json": b"{"})
    two = store.refusal(files | {"up/broken.json": b"{", "up/large.json": b" " * 1001})

    assert one.detail.startswith(
        "1 row can't be decoded (up/broken.json: it holds no list of numbers); repair or remove it"
    )
    assert two.detail.startswith("2 rows can't be decoded (")
    assert [error.message for error in two.errors] == [
        "it holds no list of numbers",
        "1001 bytes; at most 1000 are allowed for one row",
    ]


def test_images_with_notes_beside_them_are_a_dataset_of_images(store: Store) -> None:
    images = class_files("oak", "elm")
    notes = {name.replace(".png", ".json"): b'{"seen": "yesterday"}' for name in images}

    dataset = store.ingest(images | notes)

    assert dataset.contract is rooms.TASKS[0]
    assert checks(dataset)["ignored_files"]["count"] == len(notes)
    assert store.ingest(images).id == dataset.id
    with zipfile.ZipFile(store.blobs.local(dataset.content_blob)) as content:
        assert {name.rpartition(".")[2] for name in content.namelist()} == {"png"}


def test_an_archive_of_several_kinds_is_refused_with_what_each_task_takes(store: Store) -> None:
    refusal = store.refusal(class_files("oak", "elm") | row_files("oak", "elm"))

    assert refusal.detail.startswith("the archive holds 20 images and 20 rows, and a dataset has examples of one kind")
    assert "images (JPEG, PNG" in refusal.detail
    assert f"rows ({FORMATS})" in refusal.detail
    assert list(checks(refusal)) == ["several_kinds"]


def test_an_archive_of_nothing_known_is_refused_with_what_each_task_takes(store: Store) -> None:
    refusal = store.refusal({"oak/1.md": b"leaf", "elm/1.md": b"leaf"})

    assert list(checks(refusal)) == ["no_examples"]
    assert f"or rows ({FORMATS})" in refusal.detail
