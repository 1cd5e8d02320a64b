"""Folders of archives as classes and splits, by whatever names public data sets give them."""

import pytest

from models_store.datasets.split_names import split_of, splits_of
from tests.models_store.datasets.dataset_stores import Files, Store, a_table, checks, class_files, sizes


def split_files(*splits: str, below: tuple[str, ...] = ("oak", "elm"), counts: tuple[int, ...] = (10, 6, 5)) -> Files:
    files: Files = {}
    for place, (split, count) in enumerate(zip(splits, counts, strict=False)):
        files |= class_files(*below, count=count, top=f"{split}/", seed=5000 * place)
    return files


@pytest.mark.parametrize(
    ("train", "other", "meant"),
    [
        ("training", "testing", "test"),
        ("Training", "Validation", "val"),
        ("train", "dev", "val"),
        ("TRAIN", "TEST", "test"),
        ("train_set", "test_set", "test"),
        ("trainset", "valset", "val"),
        ("train2017", "val2017", "val"),
        ("TrainImages", "TestImages", "test"),
        ("images-train", "images-test", "test"),
        ("seg_train", "seg_test", "test"),
        ("fruits 360 Training", "fruits 360 Test", "test"),
        ("imagesTr", "imagesTs", "test"),
        ("train", "holdout", "test"),
        ("train", "eval", "val"),
        ("entrenamiento", "prueba", "test"),
        ("Entrai\u0302nement", "Évaluation", "val"),
        ("Trainingsdaten", "Testdaten", "test"),
        ("treino", "validação", "val"),
        ("обучение", "тест", "test"),
        ("训练集", "测试集", "test"),
        ("訓練", "驗證", "val"),
        ("学習用", "テスト用データ", "test"),
        ("훈련", "검증", "val"),
    ],
)
def test_split_folders_are_known_by_many_names(train: str, other: str, meant: str) -> None:
    assert splits_of([train, other]) == {train: "train", other: meant}


@pytest.mark.parametrize(
    "name",
    ["car", "contest", "devil", "protest", "model", "strain", "", "2017", "latest", "detest", "testify", "évier"],
)
def test_other_words_are_no_splits(name: str) -> None:
    assert split_of(name) is None


def test_words_beside_a_split_must_be_shared_by_all_folders() -> None:
    assert splits_of(["train car", "test plane"]) == {}
    assert splits_of(["train car", "test car"]) == {"train car": "train", "test car": "test"}


def test_evaluation_is_what_the_other_folders_leave() -> None:
    assert splits_of(["training", "validation", "evaluation"])["evaluation"] == "test"
    assert splits_of(["training", "evaluation", "test"])["evaluation"] == "val"


def test_split_folders_of_other_names_are_splits_and_the_report_says_so(store: Store) -> None:
    dataset = store.ingest(split_files("training", "testing"))

    assert dataset.card["classes"] == ["elm", "oak"]
    assert sizes(dataset)["test"] == 12
    assert checks(dataset)["split_folders"]["files"] == ["testing", "training"]


def test_splits_below_their_classes_are_splits(store: Store) -> None:
    files = split_files("oak", "elm", below=("train", "test"), counts=(20, 20))

    dataset = store.ingest(files)

    assert dataset.card["classes"] == ["elm", "oak"]
    assert sizes(dataset) == {"train": 36, "val": 4, "test": 40}


@pytest.mark.parametrize("tops", [("alpha", "beta"), ("train", "more"), ("training", "set one")])
def test_where_names_do_not_tell_the_owner_is_asked(tops: tuple[str, str], store: Store) -> None:
    files = split_files(*tops)

    refusal = store.refusal(files)

    assert [error.code for error in refusal.errors] == ["layout_unclear"] * 2
    for shown in ("layout=splits", "layout=classes", "oak", "elm", *tops):
        assert shown in refusal.detail
    assert store.leftovers() == []
    assert sizes(store.ingest(files, layout="splits"))["test"] == 12
    assert store.ingest(files, layout="classes").card["classes"] == sorted(tops)


def test_splits_of_unknown_names_go_by_their_size_with_a_warning(store: Store) -> None:
    dataset = store.ingest(split_files("small", "large", "middle", counts=(5, 20, 10)), layout="splits")

    assert sizes(dataset) == {"train": 40, "val": 10, "test": 20}
    assert checks(dataset)["split_folders_guessed"]["severity"] == "warning"


def test_more_folders_than_splits_can_not_be_splits(store: Store) -> None:
    refusal = store.refusal(split_files("a", "b", "c", "d", counts=(5, 5, 5, 5)), layout="splits")

    assert {error.code for error in refusal.errors} == {"layout_not_splits"}


@pytest.mark.parametrize(
    "files",
    [
        split_files("oak", "elm", below=("images",)),
        class_files("a", "b", top="oak/") | class_files("c", "d", top="elm/", seed=77),
    ],
)
def test_folders_of_other_shapes_are_classes_without_a_question(files: Files, store: Store) -> None:
    assert store.ingest(files).card["classes"] == ["elm", "oak"]


def test_classes_that_are_named_like_splits_can_be_meant(store: Store) -> None:
    files = class_files("train", "test", "car")

    assert {error.code for error in store.refusal(files).errors} == {"mixed_layout"}
    assert store.ingest(files, layout="classes").card["classes"] == ["car", "test", "train"]


def test_a_table_knows_the_same_names_of_splits(store: Store) -> None:
    splits = ["training"] * 6 + ["dev"] * 2 + ["Testing"] * 2
    rows = "".join(f"images/{index}.png,{'ab'[index % 2]},{split}\n" for index, split in enumerate(splits))

    dataset = store.ingest(a_table(f"file,label,split\n{rows}"))

    assert sizes(dataset) == {"train": 6, "val": 2, "test": 2}


def test_a_layout_beside_a_table_is_reported_as_unused(store: Store) -> None:
    rows = "".join(f"images/{index}.png,{'ab'[index % 2]}\n" for index in range(10))

    dataset = store.ingest(a_table(f"file,label\n{rows}"), layout="splits")

    assert checks(dataset)["layout_unused"]["severity"] == "warning"
