import errno
import threading
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import update

from models_store.archives.rules import ArchiveCorrupt, MemberNameRefused, UnpackedTooLarge
from models_store.datasets import store as datasets
from models_store.datasets.report import DatasetUnusable
from models_store.errors import StorageFull
from models_store.jobs import submissions
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.blobs import Blob, Blobs
from models_store.storage.database import Database
from tests.models_store.datasets.dataset_stores import (
    OWNER,
    Files,
    Store,
    a_table,
    a_tar_gz,
    a_zip,
    checks,
    class_files,
    sizes,
)
from tests.samples import a_png, a_train_spec, quick_settings


def test_class_folders_become_a_stored_dataset(store: Store) -> None:
    files = class_files("oak", "elm", count=20)

    dataset, created = store.ingest_again(files)

    assert created
    assert dataset.card["classes"] == ["elm", "oak"]
    assert sizes(dataset) == {"train": 32, "val": 4, "test": 4}
    assert (dataset.card["images"], dataset.card["split"]) == (40, "made")
    assert dataset.card["size_bytes"] == sum(map(len, files.values()))
    assert datasets.find(store.database, dataset.id, owner=OWNER) == dataset


def test_the_manifest_and_the_images_lead_back_to_every_file(store: Store) -> None:
    files = class_files("oak", "elm")

    dataset = store.ingest(files)

    entries = store.manifest(dataset)
    with zipfile.ZipFile(store.blobs.local(dataset.content_blob)) as images:
        assert {entry.file: images.read(entry.member) for entry in entries} == files
        assert {info.compress_type for info in images.infolist()} == {zipfile.ZIP_STORED}
    assert {(entry.facts["width"], entry.facts["height"]) for entry in entries} == {(40, 32)}
    assert all(entry.file.startswith(f"{entry.label}/") for entry in entries)
    assert entries == sorted(entries, key=lambda entry: (entry.split, entry.label, entry.sha256, entry.file))


def test_the_same_content_is_the_same_dataset_in_any_archive_order_and_naming(store: Store) -> None:
    files = class_files("oak", "elm")
    renamed = {f"all/{name.replace('0', 'x')}": content for name, content in reversed(files.items())}

    first = store.ingest(files)
    second, created = store.ingest_again(a_tar_gz(renamed), name="other")

    assert (second, created) == (first, False)


def test_other_content_labels_or_splits_are_another_version(store: Store) -> None:
    files = class_files("oak", "elm")
    relabelled = {name.replace("elm", "ash"): content for name, content in files.items()}
    split = {
        f"{'val' if name.endswith('0.png') else 'test' if name.endswith('1.png') else 'train'}/{name}": content
        for name, content in files.items()
    }

    digests = {store.ingest(given).digest for given in (files, relabelled, split, class_files("oak", "elm", seed=9))}

    assert len(digests) == 4


def test_two_owners_have_the_same_content_apart(store: Store) -> None:
    files = class_files("oak", "elm")

    mine, yours = store.ingest(files), store.ingest(files, owner="eve")

    assert (mine.digest, mine.content_blob) == (yours.digest, yours.content_blob)
    assert mine.id != yours.id


def test_the_same_archive_sent_twice_at_once_is_one_dataset(store: Store) -> None:
    store.upload.write_bytes(a_zip(class_files("oak", "elm")))
    found: list[str] = []

    def send() -> None:
        dataset, _ = datasets.ingest(
            store.upload,
            owner=OWNER,
            name="x",
            undecodable="refuse",
            database=store.database,
            blobs=store.blobs,
            settings=store.settings,
        )
        found.append(dataset.id)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 4
    assert len(set(found)) == 1


def test_copies_are_stored_once_and_never_parted_by_a_split_that_we_make(store: Store) -> None:
    files = class_files("oak", "elm", count=30)
    copied = files | {name.replace(".png", "-copy.png"): content for name, content in files.items()}

    dataset = store.ingest(copied)

    splits: dict[str, set[str]] = {}
    for entry in store.manifest(dataset):
        splits.setdefault(entry.sha256, set()).add(entry.split)
    assert all(len(found) == 1 for found in splits.values())
    assert len(splits) == 60
    assert sizes(dataset) == {"train": 96, "val": 12, "test": 12}
    assert checks(dataset)["exact_duplicates"]["count"] == 60
    assert "duplicates_across_splits" not in checks(dataset)


def test_every_class_is_in_every_split_however_few_images_it_has(store: Store) -> None:
    dataset = store.ingest(class_files("oak", "elm", count=3))

    assert dataset.card["counts"] == {split: {"elm": 1, "oak": 1} for split in ("train", "val", "test")}


def test_given_splits_are_kept_under_all_their_names(store: Store) -> None:
    files = {}
    for place, split in enumerate(("Train", "validation", "test")):
        files |= class_files("oak", "elm", count=5, top=f"data/{split}/", seed=100 * place)

    dataset = store.ingest(files)

    assert dataset.card["split"] == "given"
    assert sizes(dataset) == {"train": 10, "val": 10, "test": 10}
    assert all(entry.split[:2] == entry.file.split("/")[1].lower()[:2] for entry in store.manifest(dataset))


def test_train_and_val_alone_keep_val_for_the_last_judgement(store: Store) -> None:
    files = class_files("oak", "elm", count=20, top="train/") | class_files("oak", "elm", count=5, top="val/", seed=500)

    dataset = store.ingest(files)

    assert sizes(dataset) == {"train": 36, "val": 4, "test": 10}
    assert {entry.file.split("/")[0] for entry in store.manifest(dataset) if entry.split == "test"} == {"val"}
    assert {entry.file.split("/")[0] for entry in store.manifest(dataset) if entry.split != "test"} == {"train"}
    assert checks(dataset)["split_completed"]["severity"] == "info"


def test_train_and_test_alone_get_a_val_from_train(store: Store) -> None:
    files = class_files("oak", "elm", count=20, top="train/") | class_files(
        "oak", "elm", count=5, top="test/", seed=500
    )

    dataset = store.ingest(files)

    assert sizes(dataset) == {"train": 36, "val": 4, "test": 10}
    assert {entry.file.split("/")[0] for entry in store.manifest(dataset) if entry.split == "test"} == {"test"}


def test_a_test_split_without_labels_is_left_out_and_named(store: Store) -> None:
    files = class_files("oak", "elm", count=10, top="train/") | {"test/1.png": a_png(seed=77)}

    dataset = store.ingest(files)

    assert checks(dataset)["unlabelled_split"]["files"] == ["test/1.png"]
    assert "test/1.png" not in {entry.file for entry in store.manifest(dataset)}
    with zipfile.ZipFile(store.blobs.local(dataset.content_blob)) as images:
        assert len(images.namelist()) == 20


def test_folders_below_a_class_belong_to_it(store: Store) -> None:
    files = {
        f"{name.split('/')[0]}/deep/er/{name.split('/')[1]}": content
        for name, content in class_files("oak", "elm").items()
    }

    assert store.ingest(files).card["classes"] == ["elm", "oak"]


def test_a_class_may_be_called_train(store: Store) -> None:
    assert store.ingest(class_files("bus", "train")).card["classes"] == ["bus", "train"]


SYSTEMS = [
    "__MACOSX/oak/._000.png",
    ".DS_Store",
    "oak/Thumbs.db",
    "oak/@eaDir/000.png/SYNOPHOTO_THUMB_M.jpg",
    "$RECYCLE.BIN/S-1-5/x.png",
    "#recycle/elm/1.png",
    "lost+found/2.png",
    "System Volume Information/x",
    "oak/._001.png",
    ".AppleDouble/oak/000.png",
    "elm/.ipynb_checkpoints/003-checkpoint.png",
    "elm/.@__thumb/s100003.png",
    ".git/objects/x.png",
    "oak/000.png:Zone.Identifier",
    "__MACOSX/._Icon\r",
    "oak/Icon\r",
]


def test_what_systems_leave_behind_is_passed_over_and_listed(store: Store) -> None:
    clutter = {name: a_png(seed=9000 + place) for place, name in enumerate(SYSTEMS)}

    dataset = store.ingest(class_files("oak", "elm") | clutter)

    assert checks(dataset)["system_files"]["files"] == sorted(ascii(x) if "\r" in x else x for x in SYSTEMS)
    assert (dataset.card["classes"], dataset.card["images"]) == (["elm", "oak"], 20)


def test_other_files_are_passed_over_and_named(store: Store) -> None:
    clutter = dict.fromkeys(("README.md", "oak/notes.txt", ".config/some", "oak/.hidden/1.png"), b"hello")

    dataset = store.ingest(class_files("oak", "elm") | clutter)

    assert checks(dataset)["ignored_files"]["files"] == sorted(clutter)
    assert dataset.card["classes"] == ["elm", "oak"]


def test_a_hidden_folder_of_images_is_a_class(store: Store) -> None:
    assert store.ingest(class_files(".22LR", "9mm")).card["classes"] == [".22LR", "9mm"]


def test_images_without_a_suffix_are_known_by_their_content(store: Store) -> None:
    files = {name.removesuffix(".png"): content for name, content in class_files("oak", "elm").items()}

    assert store.ingest(files).card["images"] == 20


def test_undecodable_files_are_refused_by_name(store: Store) -> None:
    bad = {
        "oak/broken.png": a_png()[:200],
        "elm/page.jpg": b"<html>404</html>",
        "elm/empty.png": b"",
        "oak/phone.heic": bytes(99),
    }

    refusal = store.refusal(class_files("oak", "elm") | bad)

    assert (refusal.status, refusal.code) == (422, "dataset_unusable")
    assert {error.pointer for error in refusal.errors} == set(bad)
    assert {error.code for error in refusal.errors} == {"undecodable"}
    assert "HTML" in next(error.message for error in refusal.errors if error.pointer == "elm/page.jpg")
    assert refusal.as_problem()["report"]["checks"][0]["count"] == 4
    assert store.leftovers() == []


def test_undecodable_files_are_left_out_on_demand_and_reported(store: Store) -> None:
    files = class_files("oak", "elm") | {"oak/broken.png": b"nothing"}

    dataset = store.ingest(files, undecodable="skip")

    assert dataset.card["undecodable_skipped"] == 1
    assert checks(dataset)["undecodable"]["severity"] == "warning"
    assert checks(dataset)["undecodable"]["files"] == ["oak/broken.png"]
    assert dataset.card["images"] == 20


def test_a_class_of_undecodable_files_alone_is_an_empty_class(store: Store) -> None:
    files = class_files("oak", "elm") | {"ash/1.png": b"nothing"}

    with pytest.raises(DatasetUnusable, match="ash"):
        store.ingest(files, undecodable="skip")


@pytest.mark.parametrize(
    ("files", "check", "named"),
    [
        (class_files("oak"), "one_class", "oak"),
        (class_files("oak", top="data/"), "one_class", "oak"),
        ({"README.md": b"x"}, "no_examples", ""),
        (class_files("oak", "elm") | {"ash/": b""}, "empty_class", "ash"),
        (class_files("oak") | {"ash/": b""}, "empty_class", "ash"),
        (class_files("oak", "elm", top="train/") | {"train/ash/": b""}, "empty_class", "ash"),
        (class_files("oak", "elm", count=2), "too_few_images", "elm"),
        ({"1.png": a_png(), "2.png": a_png(seed=1)}, "images_without_class", "1.png"),
        (class_files("oak", "elm") | {"1.png": a_png()}, "images_without_class", "1.png"),
        (class_files("oak", "elm", top="test/") | class_files("oak", "elm", top="val/"), "no_train_split", ""),
        (class_files("oak", "elm", top="test/"), "no_train_split", ""),
        (class_files("oak", "elm", top="data/val/"), "no_train_split", ""),
        (class_files("oak", "elm", "elm "), "class_folders_collide", "elm"),
        (class_files("oak", "elm", " "), "class_name_unfit", " "),
        (class_files("oak", "e" * 201), "class_name_unfit", "e" * 201),
        (
            class_files("oak", "elm") | {"labels.csv": b"file,label\n" + b"oak/0.png,oak\n" * 1100},
            "labels_csv_unreadable",
            "labels.csv",
        ),
        (
            class_files("oak", "elm", top="train/") | class_files("oak", "ash", top="test/", seed=9),
            "class_missing_from_train",
            "ash",
        ),
        (
            class_files("oak", "elm", top="val/")
            | class_files("oak", "elm", top="valid/")
            | class_files("oak", "elm", top="train/"),
            "split_names_collide",
            "val",
        ),
        (
            class_files("a", "b", top="train/")
            | class_files("a", "b", top="test/")
            | class_files("a", "b", top="more/"),
            "mixed_layout",
            "more",
        ),
    ],
)
def test_what_cant_be_trained_on_is_refused_with_the_reason(files: Files, check: str, named: str, store: Store) -> None:
    refusal = store.refusal(files)

    assert (check, named) in {(error.code, error.pointer) for error in refusal.errors}
    assert checks(refusal)[check]["severity"] == "error"
    assert refusal.detail
    assert store.leftovers() == []


def test_leaks_copies_and_contradictions_are_warned_of_by_file(store: Store) -> None:
    files = {}
    for place, split in enumerate(("train", "val", "test")):
        files |= class_files("oak", "elm", count=5, top=f"{split}/", seed=100 * place)
    files["test/oak/leak.png"] = files["train/oak/000.png"]
    files["train/elm/copy.png"] = files["train/elm/001.png"]
    files["train/elm/other.png"] = files["train/oak/002.png"]

    found = checks(store.ingest(files))

    assert found["duplicates_across_splits"]["files"] == [["test/oak/leak.png", "train/oak/000.png"]]
    assert found["conflicting_labels"]["files"] == [["train/elm/other.png", "train/oak/002.png"]]
    assert ["train/elm/001.png", "train/elm/copy.png"] in found["exact_duplicates"]["files"]
    assert {
        found[name]["severity"] for name in ("duplicates_across_splits", "conflicting_labels", "exact_duplicates")
    } == {"warning"}


def test_an_image_under_two_labels_is_never_measured_on(store: Store) -> None:
    files = class_files("oak", "elm", count=20)
    files |= {
        f"elm/{name.split('/')[1]}-twin.png": content for name, content in files.items() if name.startswith("oak/00")
    }

    dataset = store.ingest(files)

    labels: dict[str, set[str]] = {}
    for entry in store.manifest(dataset):
        labels.setdefault(entry.sha256, set()).add(entry.label)
    assert {entry.split for entry in store.manifest(dataset) if len(labels[entry.sha256]) > 1} == {"train"}


def test_imbalance_and_classes_missing_from_a_split_are_warned_of(store: Store) -> None:
    files = class_files("oak", count=45, top="train/") | {
        "train/elm/1.png": a_png(seed=7000),
        "train/elm/2.png": a_png(seed=7001),
    }
    files |= class_files("oak", count=3, top="val/", seed=50) | class_files("oak", count=3, top="test/", seed=60)

    found = checks(store.ingest(files))

    assert "25.5 to 1" in found["imbalance"]["message"]
    assert found["class_missing_from_val"]["files"] == found["class_missing_from_test"]["files"] == ["elm"]


def test_tiny_images_and_mixed_sizes_are_mentioned(store: Store) -> None:
    found = checks(store.ingest(class_files("oak", "elm") | {"oak/tiny.png": a_png(size=(8, 8))}))

    assert (found["tiny_images"]["files"], found["tiny_images"]["severity"]) == (["oak/tiny.png"], "info")
    assert "2 sizes" in found["mixed_sizes"]["message"]


ROWS = "".join(f"images/{index}.png,{'odd' if index % 2 else 'even'}\n" for index in range(10))


@pytest.mark.parametrize("head", ["file,label\n", "\ufefffile,label\r\n", "File, Label\n"])
def test_a_table_labels_the_images(head: str, store: Store) -> None:
    dataset = store.ingest(a_table(head + ROWS))

    assert dataset.card["classes"] == ["even", "odd"]
    assert {entry.label for entry in store.manifest(dataset) if entry.file.endswith("3.png")} == {"odd"}


def test_a_table_in_the_one_folder_at_the_top_names_files_beside_it(store: Store) -> None:
    files = {
        f"data/{name}": content
        for name, content in a_table("file,label\n" + ROWS.replace("images/", "./images/")).items()
    }

    assert store.ingest(files).card["images"] == 10


def test_a_table_may_give_the_splits(store: Store) -> None:
    rows = "".join(
        f"images/{i}.png,{'odd' if i % 2 else 'even'},{('train', 'train', 'train', 'valid', 'test')[i // 2]}\n"
        for i in range(10)
    )

    dataset = store.ingest(a_table("file,label,split\n" + rows))

    assert (dataset.card["split"], sizes(dataset)) == ("given", {"train": 6, "val": 2, "test": 2})


@pytest.mark.parametrize(
    ("table", "check", "named"),
    [
        ("file,label\n" + ROWS + "images/99.png,odd\n", "labels_csv_missing_files", "images/99.png"),
        ("file,label\n" + ROWS + "images/3.png,even\n", "labels_csv_contradicts_itself", "images/3.png"),
        ("file,label\n" + ROWS.replace("3.png,odd", "3.png,"), "labels_csv_label_unfit", "images/3.png"),
        ("file,label,split\n" + ROWS.replace("\n", ",fold7\n"), "labels_csv_unknown_split", "images/0.png"),
        (
            "file,label,split\n" + ROWS.replace("\n", ",\n").replace("1.png,odd,", "1.png,odd,train"),
            "labels_csv_split_missing",
            "images/0.png",
        ),
        ("id,breed\n" + ROWS, "labels_csv_unreadable", "labels.csv"),
        ("", "labels_csv_unreadable", "labels.csv"),
        ("file,label\n" + ROWS + "images/9.png\n", "labels_csv_unreadable", "labels.csv"),
        ('file,label\n"images/0.png,odd\n', "labels_csv_unreadable", "labels.csv"),
    ],
)
def test_a_wrong_table_is_refused_with_the_files_it_is_wrong_about(
    table: str, check: str, named: str, store: Store
) -> None:
    refusal = store.refusal(a_table(table))

    assert (check, named) in {(error.code, error.pointer) for error in refusal.errors}
    assert store.leftovers() == []


def test_a_table_in_another_encoding_is_refused(store: Store) -> None:
    refusal = store.refusal(a_table("") | {"labels.csv": "file,label\nimages/0.png,caf\xe9\n".encode("latin-1")})

    assert "UTF-8" in refusal.detail


def test_images_that_the_table_does_not_list_are_left_out_and_named(store: Store) -> None:
    files = a_table("file,label\n" + ROWS) | {"images/extra.png": a_png(seed=99), "images/extra-broken.png": b"x"}

    dataset = store.ingest(files)

    assert checks(dataset)["labels_csv_unlisted_files"]["files"] == ["images/extra.png"]
    assert dataset.card["images"] == 10


def test_rows_given_twice_count_once(store: Store) -> None:
    dataset = store.ingest(a_table("file,label\n" + ROWS + ROWS))

    assert dataset.card["images"] == 10
    assert checks(dataset)["labels_csv_repeated_rows"]["count"] == 10


def test_a_report_names_at_most_200_files_and_counts_all(store: Store) -> None:
    dataset = store.ingest(
        class_files("oak", "elm") | {f"notes/{i}.txt": b"x" for i in range(250)} | class_files("notes", seed=500)
    )

    assert checks(dataset)["ignored_files"]["count"] == 250
    assert len(checks(dataset)["ignored_files"]["files"]) == 200


def test_a_hostile_archive_leaves_nothing_behind(store: Store) -> None:
    files = class_files("oak", "elm")
    cut = a_tar_gz(files)[:-2000]

    with pytest.raises(MemberNameRefused):
        store.ingest(a_tar_gz(files | {"../../evil.png": a_png()}))
    with pytest.raises(Exception, match=r"cut off|damaged"):
        store.ingest(cut)
    damaged = bytearray(a_zip(files))
    damaged[100] ^= 255
    with pytest.raises(ArchiveCorrupt):
        store.ingest(bytes(damaged))

    assert store.leftovers() == []
    assert datasets.listing(store.database, owner=OWNER) == ([], None)


def test_the_limits_of_the_settings_hold(store: Store, tmp_path: Path) -> None:
    files = class_files("oak", "elm")
    store.settings = quick_settings(tmp_path / "home", unpacked_max_bytes=10_000)
    with pytest.raises(UnpackedTooLarge):
        store.ingest(files)

    store.settings = quick_settings(tmp_path / "home", image_max_bytes=1000)
    assert "at most 1000" in store.refusal(files).errors[0].message

    store.settings = quick_settings(tmp_path / "home", image_max_pixels=1000)
    assert "at most 1000 pixels" in store.refusal(files).errors[0].message


class FullBlobs(Blobs):
    def put(self, path: Path) -> Blob:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_full_disk_is_507_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    store.blobs = FullBlobs(f"file://{tmp_path / 'blobs'}", scratch=tmp_path / "scratch")

    with pytest.raises(StorageFull) as refusal:
        store.ingest(class_files("oak", "elm"))

    assert refusal.value.status == 507
    assert store.leftovers() == []
    assert datasets.listing(store.database, owner=OWNER) == ([], None)


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\x00b"])
def test_a_name_that_nobody_can_read_is_refused(name: str, store: Store) -> None:
    with pytest.raises(datasets.DatasetNameInvalid):
        store.ingest(class_files("oak", "elm"), name=name)


def test_datasets_are_found_listed_and_deleted_by_their_owner_alone(
    database: Database, blobs: Blobs, settings: Settings, tmp_path: Path
) -> None:
    store = Store(database, blobs, settings, tmp_path / "upload")
    made = [
        store.ingest(class_files("oak", "elm", count=3, seed=100 * index), name=f"set {index}") for index in range(3)
    ]

    first, cursor = datasets.listing(database, owner=OWNER, limit=2)
    second, end = datasets.listing(database, owner=OWNER, limit=2, cursor=cursor)
    assert [dataset.id for dataset in [*first, *second]] == [dataset.id for dataset in reversed(made)]
    assert end is None
    assert datasets.listing(database, owner="eve") == ([], None)
    with pytest.raises(datasets.DatasetNotFound):
        datasets.find(database, made[0].id, owner="eve")
    with pytest.raises(datasets.DatasetNotFound):
        datasets.delete(database, made[0].id, owner="eve")
    datasets.delete(database, made[0].id, owner=OWNER)
    with pytest.raises(datasets.DatasetNotFound):
        datasets.find(database, made[0].id, owner=OWNER)


def test_a_dataset_goes_only_when_its_jobs_have_ended(
    database: Database, blobs: Blobs, settings: Settings, tmp_path: Path
) -> None:
    dataset = Store(database, blobs, settings, tmp_path / "upload").ingest(class_files("oak", "elm", count=3))
    job, _ = submissions.submit(
        database, owner=OWNER, spec=a_train_spec(dataset=dataset.id), settings=settings, key=None
    )

    with pytest.raises(datasets.DatasetInUse, match=job.id):
        datasets.delete(database, dataset.id, owner=OWNER)
    with database.write() as connection:
        connection.execute(update(tables.job).values(state="succeeded"))
    datasets.delete(database, dataset.id, owner=OWNER)

    with pytest.raises(datasets.DatasetNotFound):
        datasets.find(database, dataset.id, owner=OWNER)


def test_the_split_of_an_image_does_not_depend_on_its_neighbours_names(store: Store) -> None:
    files = class_files("oak", "elm", count=40)
    renamed = {
        f"{name.split('/')[0]}/z{len(files) - place}.png": content
        for place, (name, content) in enumerate(files.items())
    }

    first = {entry.sha256: entry.split for entry in store.manifest(store.ingest(files))}
    second = {entry.sha256: entry.split for entry in store.manifest(store.ingest(renamed, owner="eve"))}

    assert first == second
    assert Counter(first.values()) == {"train": 64, "val": 8, "test": 8}
