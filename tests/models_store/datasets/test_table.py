"""Tables of labels as spreadsheets write them, under the names that data sets give them."""

import pytest

from tests.models_store.datasets.dataset_stores import Store, a_table, checks, class_files, sizes

ROWS = "".join(f"images/{index}.png,{'odd' if index % 2 else 'even'}\n" for index in range(10))
VALUES = "".join(f"images/{index}.png;{index},5\n" for index in range(10))


@pytest.mark.parametrize(
    "table",
    [
        "file,label\n" + ROWS,
        "file;label\n" + ROWS.replace(",", ";"),
        "file\tlabel\n" + ROWS.replace(",", "\t"),
        "sep=;\nfile;label\n" + ROWS.replace(",", ";"),
        "\ufefffile;label\r\n" + ROWS.replace(",", ";").replace("\n", "\r\n") + ";\r\n;\r\n",
        "file,label,,\n" + ROWS.replace("\n", ",,\n") + ",,,\n\n",
    ],
)
def test_a_table_is_read_whatever_separates_its_cells(table: str, store: Store) -> None:
    dataset = store.ingest(a_table(table))

    assert (dataset.card["classes"], dataset.card["images"]) == (["even", "odd"], 10)


def test_a_decimal_comma_is_read_where_no_comma_separates_cells(store: Store) -> None:
    dataset = store.ingest(a_table("file;value\n" + VALUES))

    assert (dataset.card["values"]["minimum"], dataset.card["values"]["maximum"]) == (0.5, 9.5)


def test_labels_in_a_semicolon_table_are_separated_by_bars(store: Store) -> None:
    rows = "".join(f"images/{index}.png;{'a|b' if index % 2 else 'b'}\n" for index in range(10))

    assert store.ingest(a_table("file;labels\n" + rows)).card["classes"] == ["a", "b"]


@pytest.mark.parametrize(
    ("table", "check", "said"),
    [
        ("file,label\n" + ROWS + "images/3.png,even\n", "labels_csv_contradicts_itself", "line 5 and line 12"),
        ("file,label\n" + ROWS + "images/9.png\n", "labels_csv_unreadable", "line 12 has 1 cell, the header 2"),
        ("file,label\n" + ROWS + '"images/9.png\n', "labels_csv_unreadable", "line 12"),
        ("sep=,\nfile,label\n" + ROWS.replace("3.png,odd", "3.png,"), "labels_csv_label_unfit", "line 6"),
        ("file;value\n" + VALUES.replace(";7,5", ";1.234,5"), "labels_csv_value_unfit", "line 9"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(table: str, check: str, said: str, store: Store) -> None:
    errors = [error for error in store.refusal(a_table(table)).errors if error.code == check]

    assert said in errors[0].message


@pytest.mark.parametrize("separator", [",", "/", "+", " "])
def test_labels_separated_by_another_character_are_warned_of(separator: str, store: Store) -> None:
    lists = ["red", separator.join(["red", "blue"]), separator.join(["blue", "old", "red"]), "old"]
    rows = "".join(f'images/{index}.png,"{lists[index % 4]}"\n' for index in range(10))

    found = checks(store.ingest(a_table("file,labels\n" + rows)))

    assert found["labels_csv_separator"]["severity"] == "warning"
    assert found["labels_csv_separator"]["count"] == 5


def test_labels_of_several_words_are_not_taken_for_lists(store: Store) -> None:
    rows = "".join(f"images/{i}.png,{('red car', 'old house', 'blue sky')[i % 3]}\n" for i in range(10))

    assert "labels_csv_separator" not in checks(store.ingest(a_table("file,labels\n" + rows)))


def test_a_table_in_a_sub_folder_is_named_as_not_used(store: Store) -> None:
    files = class_files("oak", "elm") | {"oak/more/labels.csv": b"file,label\n"}

    found = checks(store.ingest(files))

    assert found["labels_csv_ignored"]["files"] == ["oak/more/labels.csv"]


@pytest.mark.parametrize("name", ["train.csv", "train_labels.csv", "labels_train.csv", "Training.csv"])
def test_a_table_named_for_training_alone_is_the_table(name: str, store: Store) -> None:
    dataset = store.ingest(a_table("file,label\n" + ROWS, name=name))

    assert (dataset.card["classes"], dataset.card["split"]) == (["even", "odd"], "made")
    assert checks(dataset)["labels_csv_names"]["files"] == [name]


def test_tables_of_splits_give_the_splits(store: Store) -> None:
    lines = ROWS.splitlines(keepends=True)
    tables = {
        "train.csv": ("file,label\n" + "".join(lines[:6])).encode(),
        "validation.csv": ("file,label\n" + "".join(lines[6:8])).encode(),
        "test.csv": ("file,label\n" + "".join(lines[8:])).encode(),
    }

    dataset = store.ingest({name: content for name, content in a_table("").items() if name != "labels.csv"} | tables)

    assert sizes(dataset) == {"train": 6, "val": 2, "test": 2}


def test_a_test_table_without_labels_is_left_out(store: Store) -> None:
    files = a_table("file,label\n" + ROWS, name="train.csv") | {"test.csv": b"id\n1\n"}

    dataset = store.ingest(files)

    assert dataset.card["images"] == 10
    assert "test.csv" in checks(dataset)["ignored_files"]["files"]


def test_a_table_of_something_else_beside_class_folders_is_named_and_not_used(store: Store) -> None:
    dataset = store.ingest(class_files("oak", "elm") | {"train.csv": b"id,breed\n1,pug\n"})

    assert dataset.card["classes"] == ["elm", "oak"]
    assert checks(dataset)["labels_csv_ignored"]["files"] == ["train.csv"]
