import io
import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from PIL import Image

from models_store.datasets import store as datasets
from models_store.datasets.manifest import ManifestEntry, digest_of, read_manifest, write_manifest
from tests.models_store.datasets.dataset_stores import Files, Store, a_table, checks, class_files
from tests.samples import a_png

COLOURS = [("blue",), ("blue", "warm"), ("warm",), ()]


def images(count: int) -> Files:
    return {f"{index}.png": a_png(size=(20, 20), hue=index % 3, seed=index) for index in range(count)}


def labelled(count: int = 40, *, separator: str = ";") -> str:
    rows = (f"{index}.png,{separator.join(COLOURS[index % 4])}" for index in range(count))
    return "\n".join(["file,labels", *rows])


def valued(count: int = 40) -> str:
    return "\n".join(["file,value", *(f"{index}.png,{index / 4}" for index in range(count))])


def grouped(column: str, cells: list[str], groups: list[str]) -> str:
    rows = (f"{index}.png,{cell},{group}" for index, (cell, group) in enumerate(zip(cells, groups, strict=True)))
    return "\n".join([f"file,{column},group", *rows])


# ---- any number of labels


@pytest.mark.parametrize("separator", [";", "|", " ; ", ";;"])
def test_a_table_may_give_each_image_any_number_of_labels(separator: str, store: Store) -> None:
    dataset = store.ingest(a_table(labelled(separator=separator), images(40)))

    entries = {entry.file: entry for entry in store.manifest(dataset)}
    assert [entries[f"{index}.png"].labels for index in range(4)] == COLOURS
    assert (dataset.card["target"], dataset.card["classes"]) == ("labels", ["blue", "warm"])
    assert dataset.card["train_count"] == dataset.card["splits"]["train"] == 32
    assert dataset.card["counts"]["test"] == {"blue": 2, "warm": 2}


def test_the_order_and_repetition_of_labels_mean_nothing(store: Store) -> None:
    table = labelled().replace("blue;warm", "warm;blue;warm")

    assert store.ingest(a_table(table, images(40))) == store.ingest(a_table(labelled(), images(40)))


def test_one_label_is_enough_where_some_images_bear_it_and_some_do_not(store: Store) -> None:
    dataset = store.ingest(a_table(labelled().replace("warm", ""), images(40)))

    assert dataset.card["classes"] == ["blue"]
    assert "imbalance" not in checks(dataset)


def test_every_label_that_can_be_is_in_every_split(store: Store) -> None:
    rows = [f"{index}.png,common" + (f";rare{index % 7}" if index % 13 == 0 else "") for index in range(300)]

    dataset = store.ingest(a_table("\n".join(["file,labels", *rows]), images(300)))

    counts = dataset.card["counts"]
    enough = [label for label in dataset.card["classes"] if sum(counts[split][label] for split in counts) >= 3]
    assert len(enough) > 4
    assert all(counts[split][label] for split in counts for label in enough)
    assert dataset.card["splits"]["test"] == pytest.approx(30, abs=4)


def test_a_label_that_only_the_test_split_bears_is_refused(store: Store) -> None:
    rows = [f"{i}.png,{'odd' if i % 2 else ''}{';late' if i == 39 else ''},{'train' if i < 30 else 'test'}"
            for i in range(40)]  # fmt: skip

    refusal = store.refusal(a_table("\n".join(["file,labels,split", *rows]), images(40)))

    assert ("class_missing_from_train", "late") in {(error.code, error.pointer) for error in refusal.errors}


def test_a_label_on_every_image_and_images_labelled_in_two_ways_are_warned_of(store: Store) -> None:
    files = images(40) | {"twin.png": images(1)["0.png"]}
    table = labelled().replace(".png,", ".png,all;") + "\ntwin.png,all;warm"

    found = checks(store.ingest(a_table(table, files)))

    assert found["label_on_every_image"]["files"] == ["all"]
    assert found["conflicting_labels"]["files"] == [["0.png", "twin.png"]]


# ---- numbers


def test_a_table_may_give_each_image_a_number(store: Store) -> None:
    dataset = store.ingest(a_table(valued(), images(40)))

    entries = {entry.file: entry for entry in store.manifest(dataset)}
    assert [entries[f"{index}.png"].value for index in range(3)] == [0.0, 0.25, 0.5]
    assert (dataset.card["target"], dataset.card["classes"]) == ("number", [])
    assert dataset.card["splits"] == {"train": 32, "val": 4, "test": 4}
    assert (dataset.card["values"]["minimum"], dataset.card["values"]["maximum"]) == (0, 9.75)
    facts = datasets.facts(dataset)
    assert (facts.target, facts.train_count, facts.class_count) == ("number", 32, 1)


def test_a_value_beyond_the_limit_is_refused_with_the_limit(store: Store) -> None:
    (error,) = store.refusal(a_table(valued().replace("\n7.png,1.75", "\n7.png,2e+31"), images(40))).errors

    assert "from -1e30 to 1e30" in error.message


def test_each_split_has_values_of_every_range(store: Store) -> None:
    dataset = store.ingest(a_table("\n".join(["file,value", *(f"{i}.png,{i**2}" for i in range(200))]), images(200)))

    for split in ("val", "test"):
        held = [entry.value for entry in store.manifest(dataset) if entry.split == split]
        ranges = Counter(int(value**0.5) // 20 for value in held if value is not None)
        assert (len(held), len(ranges)) == (20, 10)


@pytest.mark.parametrize("cell", ["", "nan", "inf", "1_000", "3.5 cm", "1e31", "0x10"])
def test_what_is_no_finite_number_is_refused_by_file(cell: str, store: Store) -> None:
    refusal = store.refusal(a_table(valued().replace("\n7.png,1.75", f"\n7.png,{cell}"), images(40)))

    assert [(error.code, error.pointer) for error in refusal.errors] == [("labels_csv_value_unfit", "7.png")]
    assert repr(cell) in refusal.errors[0].message


def test_numbers_that_are_all_alike_are_refused(store: Store) -> None:
    table = "\n".join(["file,value", *(f"{index}.png,7" for index in range(12))])

    assert [error.code for error in store.refusal(a_table(table, images(12))).errors] == ["values_all_equal"]


def test_codes_among_numbers_are_warned_of(store: Store) -> None:
    table = valued().replace("\n7.png,1.75", "\n7.png,-9999")

    assert checks(store.ingest(a_table(table, images(40))))["values_far_away"]["files"] == ["7.png"]


def test_numbers_are_told_apart_in_the_digest_and_the_same_ones_are_not(store: Store) -> None:
    first = store.ingest(a_table(valued(), images(40)))

    assert store.ingest(a_table(valued().replace(",0.25", ",2.5e-1"), images(40))) == first
    assert store.ingest(a_table(valued().replace(",0.25", ",0.26"), images(40))) != first


# ---- groups


@pytest.mark.parametrize("column", ["label", "labels", "value"])
def test_images_of_one_group_and_copies_stay_in_one_split(column: str, store: Store) -> None:
    files = images(60)
    files["59.png"] = files["0.png"]  # so the groups of both hang together
    groups = [f"patient {index // 3}" for index in range(60)]
    cells = [str(index % 2) for index in range(59)] + ["0"]

    dataset = store.ingest(a_table(grouped(column, cells, groups), files))

    splits: defaultdict[str, set[str]] = defaultdict(set)
    for entry in store.manifest(dataset):
        splits[entry.group].add(entry.split)
        splits[entry.sha256].add(entry.split)
    assert {len(found) for found in splits.values()} == {1}
    assert dataset.card["grouped"]
    assert dataset.card["splits"]["val"] == pytest.approx(6, abs=3)
    assert dataset.card["splits"]["test"] == pytest.approx(6, abs=3)


def test_grouped_classes_are_in_every_split_where_groups_allow_it(store: Store) -> None:
    groups = [f"patient {index // 5}" for index in range(60)]
    cells = [("oak", "elm", "ash")[index // 5 % 3] for index in range(60)]  # one class for each patient

    dataset = store.ingest(a_table(grouped("label", cells, groups), images(60)))

    assert all(all(counts.values()) for counts in dataset.card["counts"].values())


def test_too_few_groups_are_refused(store: Store) -> None:
    table = grouped("value", [str(index) for index in range(12)], ["ada", "eve"] * 6)

    assert [error.code for error in store.refusal(a_table(table, images(12))).errors] == ["too_few_images"]


def test_groups_in_several_given_splits_are_warned_of(store: Store) -> None:
    rows = [
        f"{index}.png,{index % 2},{'test' if index > 30 else 'val' if index > 20 else 'train'},g{index // 5}"
        for index in range(40)
    ]

    dataset = store.ingest(a_table("\n".join(["file,label,split,group", *rows]), images(40)))

    assert checks(dataset)["groups_across_splits"]["files"] == ["g4", "g6"]


def test_group_and_split_may_come_in_any_order(store: Store) -> None:
    rows = [f"{index}.png,{index % 2},g{index}," for index in range(12)]

    assert store.ingest(a_table("\n".join(["file,label,group,split", *rows]), images(12))).card["grouped"]


@pytest.mark.parametrize(
    ("table", "check", "named"),
    [
        (grouped("value", ["1", "2", "3"], ["a", "", "c"]), "labels_csv_group_missing", "1.png"),
        (grouped("value", ["1", "2", "3"], ["a", "b", "c" * 201]), "labels_csv_group_unfit", "2.png"),
        (grouped("label", ["1", "2", "3"], ["a", "b", "c"]) + "\n0.png,1,d", "labels_csv_contradicts_itself", "0.png"),
        ("file,value,label\n", "labels_csv_unreadable", "labels.csv"),
        ("file,value,group,group\n", "labels_csv_unreadable", "labels.csv"),
        ("file\n", "labels_csv_unreadable", "labels.csv"),
        ("value,file\n", "labels_csv_unreadable", "labels.csv"),
        ("file,labels\n0.png,a;" + "b" * 201, "labels_csv_label_unfit", "0.png"),
        ("file,labels\n0.png," + ";".join(map(str, range(1001))), "labels_csv_too_many_labels", "0.png"),
        ("file,labels\n" + "".join(f"{index}.png,\n" for index in range(12)), "no_labels", ""),
        (labelled(12) + "\n5.png,Warm", "labels_csv_contradicts_itself", "5.png"),
    ],
)
def test_a_wrong_table_of_labels_numbers_or_groups_is_refused_by_file(
    table: str, check: str, named: str, store: Store
) -> None:
    refusal = store.refusal(a_table(table, images(12)))

    assert (check, named) in {(error.code, error.pointer) for error in refusal.errors}


# ---- what was kept


def test_a_manifest_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    line = {"file": "a/1.png", "member": "x.png", "label": "a", "split": "train", "sha256": "0" * 64}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line | {"width": 3, "height": 4}) + "\n")

    (entry,) = read_manifest(tmp_path / "manifest.jsonl")

    assert (entry.target, entry.names, entry.group, entry.value) == ("a", ("a",), "", None)
    write_manifest(tmp_path / "again.jsonl", [entry])
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "manifest.jsonl").read_bytes().replace(
        b": ", b":"
    ).replace(b", ", b",")


def test_the_digest_of_classes_is_that_of_earlier_releases() -> None:
    entries = [ManifestEntry("a/1.png", "x.png", "ä", "train", "0" * 64, {"width": 3, "height": 4})]

    assert digest_of(entries) == "773d9589ea5d5714ffb22ae2e85d481da119a3480df45b3d4ab16e767a57dea1"


def test_facts_of_a_dataset_of_an_earlier_release_are_read(store: Store) -> None:
    dataset = store.ingest(class_files("oak", "elm"))
    for name in ("target", "train_count", "grey", "grouped", "splits"):
        del dataset.card[name]

    facts = datasets.facts(dataset)

    assert (facts.target, facts.train_count, facts.grey, facts.grouped) == ("class", 16, False, False)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_dataset_is_grey_when_all_its_images_are_stored_so(kind: str, store: Store) -> None:
    def as_grey(content: bytes) -> bytes:
        buffer = io.BytesIO()
        Image.open(io.BytesIO(content)).convert("L").save(buffer, kind)
        return buffer.getvalue()

    grey = {name: as_grey(content) for name, content in class_files("oak", "elm").items()}

    assert store.ingest(grey).card["grey"] is True
    assert store.ingest(grey | {"oak/colour.png": a_png()}).card["grey"] is False
