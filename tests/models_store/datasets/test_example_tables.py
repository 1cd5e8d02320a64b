"""Tables whose rows are examples: in archives and alone, in several formats and encodings, and what is refused."""

import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from models_store.archives.rules import TooManyMembers
from models_store.datasets import row_intake
from models_store.datasets import store as datasets
from models_store.datasets.export import export
from models_store.datasets.row_sources import Table
from models_store.datasets.stored_content import StoredContent
from models_store.tasks.text.contract import TEXT
from tests.models_store.datasets.dataset_stores import Store, a_zip, checks, class_files, sizes
from tests.models_store.datasets.text_rows import lines, rows_of

FORTY = rows_of("good", "bad", count=20)
CSV = Table("texts.csv", "csv")


def json_lines(rows: list[str]) -> bytes:
    documents = ({"text": row.rpartition(",")[0], "label": row.rpartition(",")[2]} for row in rows)
    return "".join(json.dumps(document) + "\n" for document in documents).encode()


def texts(store: Store, dataset: datasets.Dataset) -> set[tuple[str, Any]]:
    """Return what the dataset holds: each text, and what is learned of it."""
    with StoredContent(store.blobs.local(dataset.content_blob)) as content:
        found = [
            (content.read(each.member, sha256=each.sha256).decode(), each.target) for each in store.manifest(dataset)
        ]
    return {(text, tuple(target) if isinstance(target, list) else target) for text, target in found}


@pytest.mark.parametrize("name", ["texts.csv", "labels.csv", "reviews/texts.csv", "texts.tsv", "texts.jsonl"])
def test_each_row_of_a_table_is_an_example(store: Store, name: str) -> None:
    tabs = [row.replace(",", "\t") for row in ("text,label", *FORTY)]
    content = {".csv": lines(*FORTY), ".tsv": "\n".join(tabs).encode(), ".jsonl": json_lines(FORTY)}[Path(name).suffix]

    dataset = store.ingest({name: content})

    assert (dataset.card["examples"], sizes(dataset)) == ("texts", {"train": 32, "val": 4, "test": 4})
    assert texts(store, dataset) == {tuple(row.split(",")) for row in FORTY}
    first = 1 if name.endswith("jsonl") else 2
    assert {entry.file for entry in store.manifest(dataset)} == {f"{name}:{first + place}" for place in range(40)}


def test_a_table_needs_no_archive_and_is_the_same_dataset(store: Store) -> None:
    packed = store.ingest({"texts.csv": lines(*FORTY)})

    alone, is_new = store.ingest_again(lines(*FORTY, end="\r\n"), table=Table("reviews.csv", "csv"))

    assert (alone.id, is_new) == (packed.id, False)


def test_rows_give_splits_groups_labels_and_languages(store: Store) -> None:
    rows = [
        f'"one {at}, two",{("a;b", "b", "")[at % 3]},{("train", "dev", "test")[at % 3]},g{at},en,x' for at in range(30)
    ]
    table = lines(*rows, header="Text,labels,split,group,language,note")

    dataset = store.ingest(table, table=CSV)

    entries = store.manifest(dataset)
    assert (dataset.card["target"], dataset.card["classes"]) == ("labels", ["a", "b"])
    assert dataset.card["splits"] == {"train": 10, "val": 10, "test": 10}
    assert {entry.facts["language"] for entry in entries} == {"en"}
    assert len({entry.group for entry in entries}) == 30
    assert checks(dataset)["columns_not_used"]["files"] == ["note"]


def test_the_report_says_how_names_of_splits_were_read(store: Store) -> None:
    rows = [f"{row},{('train1', 'train1', 'dev2', 'testing')[at % 4]}" for at, row in enumerate(FORTY)]

    dataset = store.ingest(lines(*rows, header="text,label,split"), table=CSV)

    found = checks(dataset)["split_names"]
    assert found["message"].endswith("'dev2' as val, 'testing' as test, 'train1' as train")
    assert (found["severity"], found["files"]) == ("info", ["dev2", "testing", "train1"])


@pytest.mark.parametrize("blank", ["\u200b\u200d", "\u3000", "\ufe0f"])
def test_a_text_of_which_nothing_can_be_seen_is_empty(store: Store, blank: str) -> None:
    refusal = store.refusal(lines(*FORTY, f"{blank},good"), table=CSV)

    (error,) = refusal.errors
    assert "the text is empty" in error.message


def test_the_end_of_a_files_last_line_is_no_part_of_the_text(store: Store) -> None:
    files = {f"{name}/{at}.txt": f"{name} {at}\r\n".encode() for name in ("a", "b") for at in range(10)}

    dataset = store.ingest(files)

    assert ("a 3", "a") in texts(store, dataset)


def test_values_are_numbers_and_fasttext_lines_have_labels(store: Store) -> None:
    numbers = [f"text {at} of {at * at};{at},5" for at in range(40)]
    fasttext = [f"__label__{('good', 'bad')[at % 2]} text {at} of {at * at}" for at in range(40)]

    of_numbers = store.ingest({"texts.csv": lines(*numbers, header="text;value")})
    of_classes = store.ingest({"reviews.ft.txt": "\n".join(fasttext).encode()})

    assert of_numbers.card["values"]["maximum"] == 39.5
    assert of_classes.card["classes"] == ["bad", "good"]
    assert ("text 3 of 9", "bad") in texts(store, of_classes)


def test_tables_of_splits_are_read_together(store: Store) -> None:
    files = {"train.csv": lines(*FORTY[:30], *FORTY[32:]), "test.csv": lines(*FORTY[30:32])}

    dataset = store.ingest(files)

    assert dataset.card["splits"]["test"] == 2
    assert {entry.file for entry in store.manifest(dataset) if entry.split == "test"} == {"test.csv:2", "test.csv:3"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030", "big5", "shift_jis"])
def test_an_encoding_that_is_given_is_read(store: Store, encoding: str) -> None:
    rows = [f"大好 {at} 本日 {at * at},{('好', '不')[at % 2]}" for at in range(40)]
    content = "\n".join(["text,label", *rows]).encode(encoding)

    dataset = store.ingest(content, table=CSV, encoding=encoding)

    assert texts(store, dataset) == {tuple(row.split(",")) for row in rows}


def test_a_mark_of_the_byte_order_is_no_part_of_a_text(store: Store) -> None:
    files = {f"{name}/{at}.txt": b"\xef\xbb\xbf" + f"{name} {at}".encode() for name in ("a", "b") for at in range(10)}

    of_table = store.ingest(b"\xef\xbb\xbf" + lines(*FORTY), table=CSV)
    of_files = store.ingest(files)

    assert texts(store, of_table) == {tuple(row.split(",")) for row in FORTY}
    assert ("a 3", "a") in texts(store, of_files)


def test_lists_of_labels_with_another_separator_are_reported(store: Store) -> None:
    rows = [f"{row.rpartition(',')[0]};{('a,b', 'b', 'a')[at % 3]}" for at, row in enumerate(FORTY)]

    found = checks(store.ingest(lines(*rows, header="text;labels"), table=CSV))["labels_separator"]

    assert "'a,b' in texts.csv:2" in found["message"]
    assert (found["severity"], found["files"]) == ("warning", ["texts.csv:2"])


def test_labels_of_fasttext_may_end_in_a_tab(store: Store) -> None:
    fasttext = [f"__label__{('good', 'bad')[at % 2]}\ttext {at} of {at * at}" for at in range(40)]

    dataset = store.ingest({"reviews.ft.txt": "\n".join(fasttext).encode()})

    assert ("text 3 of 9", "bad") in texts(store, dataset)


REFUSED = {
    "wrong_encoding": lines(*FORTY[:3]) + "房间".encode("gb18030") + b",good\n",
    "column_missing": lines(*FORTY, header="review,label"),
    "label_missing": lines(*FORTY, "nothing is said,"),
    "quote_not_closed": lines(*FORTY, '"never closed,good'),
    "quotes_wrong": lines('"a "b" c",good', *FORTY),
    "wrong_cells": lines(*FORTY, "one, two,good"),
    "undecodable": lines(*FORTY, "  ,good"),
    "one_class": lines(*rows_of("good", count=40)),
    "all_the_same": lines(*("same,good", "same,bad") * 20),
    "split_unknown": lines(*(f"{row},fold{at % 3}" for at, row in enumerate(FORTY)), header="text,label,split"),
    "split_missing": lines(
        *(f"{row},{'train' if at else ''}" for at, row in enumerate(FORTY)), header="text,label,split"
    ),
    "value_unfit": lines("good,1", "bad,many", header="text,value"),
    "several_targets": lines("a,b,c", header="text,label,labels"),
    "column_twice": lines("a,b,c", header="text,text,label"),
    "group_missing": lines("a,b,c", "a,b,", header="text,label,group"),
    "no_images": lines(),
    "line_ends_wrong": lines(*FORTY, end="\r"),
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_is_wrong_with_a_table_has_a_code(store: Store, code: str) -> None:
    refusal = store.refusal(REFUSED[code], table=CSV)

    assert (refusal.status, refusal.code) == (422, "dataset_unusable")
    assert code in {error.code for error in refusal.errors}


@pytest.mark.parametrize(
    ("table", "place"),
    [
        (lines(*FORTY[:3]) + b"\xb7\xbf,good\n", f"byte {len(lines(*FORTY[:3]))} in line 5 is not UTF-8"),
        (lines(*FORTY[:3]) + b" ,good\n", f"line 5, byte {len(lines(*FORTY[:3]))}: the text is empty"),
        (lines(*FORTY[:3]) + b"a\0b,good\n", "character 1 is NUL (U+0000), which no text has"),
        (lines(*FORTY[:3]) + b'"\nx,good\n', f'line 5, byte {len(lines(*FORTY[:3]))}: a `"` is opened'),
        (lines(*FORTY[:3]) + b"a,b,c\n", f"line 5, byte {len(lines(*FORTY[:3]))}: it has 3 cells, the header 2"),
        (lines(*FORTY[:3]) + b'"a\nb\nc",\n', f"line 5, byte {len(lines(*FORTY[:3]))}: there is no class"),
        (lines(*FORTY, header="review,label"), "if `review` is it, rename it to `text`"),
        (lines(*FORTY, header="Review,Sentiment"), "rename it to `text`, and `sentiment` to `label`, `labels` or"),
        (lines(*FORTY, "a\rb,good"), "a carriage return (`\\r`) stands alone in it"),
        (lines(*FORTY).replace(b"text", b"t\0e\0x\0t\0", 1), "it has NUL characters: it is UTF-16"),
        (lines(*FORTY, " ,good"), ": the text is empty"),
        (lines(*FORTY, 'good,"go\nod"'), "'go\\nod' has U+000A"),
        (
            lines(*(f"the very same words stand here again and again {at},{'ab'[at % 2]}" for at in range(9))),
            "nearly the same count as one",
        ),
        (lines(*FORTY, header="text,sentiment"), "if `sentiment` is it, rename it to `label`"),
        ("text,label\n房间,好\n".encode("utf-16"), "it begins as UTF-16 does: save it as UTF-8, or send"),
        (lines("x" * (1 << 20) + "yz,good", *FORTY), "a cell has more than 1048576 characters"),
        (lines("房" * (1 << 19) + ",good", *FORTY), "1572864 bytes; at most 400000 are allowed for one text"),
    ],
)
def test_a_refusal_says_where_and_what_to_do(store: Store, table: bytes, place: str) -> None:
    refusal = store.refusal(table, table=CSV)

    assert any(place in error.message for error in refusal.errors), [error.message for error in refusal.errors]


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ('{"text": 5, "label": "good"}', "`text` is a number; it has to be a string"),
        ('{"text": "x", "label": ["good"]}', "`label` is a list"),
        ('{"label": "good"}', "`text` is missing"),
        ('["x", "good"]', "this is a list; each line has to be an object"),
        ('{"text": "x", "text": "y", "label": "good"}', "the key 'text' is given twice"),
        ('{"text": "x", ', "this is not JSON"),
        ('{"text": "x\\ud800", "label": "good"}', "character 2 is half of a surrogate pair"),
    ],
)
def test_a_line_of_json_that_is_wrong_is_named(store: Store, line: str, place: str) -> None:
    refusal = store.refusal(json_lines(FORTY) + line.encode() + b"\n", table=Table("texts.jsonl", "jsonl"))

    (error,) = refusal.errors
    assert "line 41, byte" in error.message
    assert place in error.message


def test_rows_that_cannot_be_decoded_are_left_out_where_that_is_asked_for(store: Store) -> None:
    dataset = store.ingest(lines(*FORTY, " ,good", "a\0,bad"), table=CSV, undecodable="skip")

    assert (dataset.card["images"], dataset.card["undecodable_skipped"]) == (40, 2)
    assert checks(dataset)["undecodable"]["files"] == ["texts.csv:42", "texts.csv:43"]


def test_more_rows_than_files_are_allowed_are_refused(store: Store) -> None:
    store.settings = store.settings.model_copy(update={"dataset_max_files": 39})

    with pytest.raises(TooManyMembers):
        store.ingest(lines(*FORTY), table=CSV)
    assert store.leftovers() == []


def test_files_beside_a_table_are_passed_over_unless_they_are_as_many_examples(store: Store) -> None:
    few = {
        "texts.csv": lines(*FORTY),
        "readme.txt": b"about the texts",
        "logo/a.png": class_files("a", count=1)["a/000.png"],
    }

    dataset = store.ingest(few)
    refusal = store.refusal({"texts.csv": lines(*FORTY[:5])} | class_files("oak", "elm"))

    assert checks(dataset)["ignored_files"]["files"] == ["logo/a.png", "readme.txt"]
    assert {error.code for error in refusal.errors} == {"several_kinds"}


def test_a_table_that_lists_files_is_still_one_of_labels(store: Store) -> None:
    files = {f"{at}.txt": f"text {at} of {at * at}".encode() for at in range(20)}
    rows = [f"{at}.txt,{('good', 'bad')[at % 2]}" for at in range(20)]

    dataset = store.ingest(files | {"labels.csv": lines(*rows, header="file,label")})

    assert Counter(entry.label for entry in store.manifest(dataset)) == {"good": 10, "bad": 10}


def test_an_export_is_a_table_that_is_the_same_dataset(store: Store) -> None:
    odd = ['"a, ""b""\r\nc",good', '"  d\re ",bad', "=f;g,good"]
    dataset = store.ingest(lines(*FORTY, *odd), table=CSV)

    manifest, content = store.blobs.local(dataset.manifest_blob), store.blobs.local(dataset.content_blob)
    again, is_new = store.ingest_again(b"".join(export(manifest, content, "class", TEXT)))

    assert (again.digest, is_new) == (dataset.digest, False)


def test_many_rows_on_disk_are_the_dataset_that_a_few_in_memory_are(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [*FORTY, *FORTY[::7], "Same! text,good", "same text,bad"]
    splits = [f"{row},{('train', 'train', 'dev', 'test')[at % 4]}" for at, row in enumerate(rows)]
    tables = [lines(*rows), lines(*splits, header="text,label,split")]
    expected = [store.ingest(table, table=CSV) for table in tables]
    monkeypatch.setattr(row_intake, "MOST_IN_MEMORY", 3)

    found = [store.ingest(table, table=CSV, owner="somebody else") for table in tables]

    for one, other in zip(expected, found, strict=True):
        assert (one.digest, one.card, one.report) == (other.digest, other.card, other.report)
        assert (one.manifest_blob, one.content_blob) == (other.manifest_blob, other.content_blob)
    assert "duplicates_across_splits" in checks(found[1])


def test_the_content_is_a_zip_that_others_read(store: Store) -> None:
    dataset = store.ingest(lines(*FORTY, *FORTY[:3]), table=CSV)

    with zipfile.ZipFile(store.blobs.local(dataset.content_blob)) as content:
        assert (content.testzip(), len(content.namelist())) == (None, 40)
        assert {content.read(name).decode() for name in content.namelist()} == {row.split(",")[0] for row in FORTY}


def test_the_same_rows_are_a_dataset_as_an_archive_too(store: Store) -> None:
    assert store.ingest(a_zip({"texts.csv": lines(*FORTY)})).digest == store.ingest(lines(*FORTY), table=CSV).digest
