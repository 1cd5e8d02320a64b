"""The half of a dataset's report that says what was looked at and is in order."""

import pytest

from models_store.datasets.manifest import ManifestEntry
from models_store.datasets.passed import passed
from models_store.spec.facts import Target
from models_store.tasks.image.contract import IMAGE


def entries(
    *, target: Target = "class", train: int = 4, smallest: int = 4, group: str = "", side: int = 28
) -> list[ManifestEntry]:
    """Return images of two classes in three splits; of the second there are `smallest` in each."""
    found = []
    for split in ("train", "val", "test"):
        for label, count in (("bag", train), ("shoe", smallest)):
            for number in range(count):
                name = f"{split}/{label}/{number}"
                given = {
                    "class": {"label": label},
                    "labels": {"label": "", "labels": (label,)},
                    "number": {"label": "", "value": float(number)},
                }[target]
                size = {"width": side, "height": side}
                facts = {"split": split, "sha256": name, "facts": size, "group": group and name}
                found.append(ManifestEntry(**{"file": name, "member": name, **facts, **given}))
    return found


def told(images: list[ManifestEntry], target: Target = "class", *found: str) -> dict[str, tuple[int, str]]:
    classes = [] if target == "number" else ["bag", "shoe"]
    return {
        each["check"]: (each["count"], each["message"])
        for each in passed(images, classes, target, IMAGE, found=set(found))
    }


def test_each_check_that_found_nothing_is_told_with_counts() -> None:
    assert told(entries(train=1600, smallest=1600)) == {
        "undecodable": (9600, "9,600 images were read, and all of them can be decoded"),
        "mixed_sizes": (9600, "all images are 28 x 28 pixels"),
        "tiny_images": (9600, "no image has a side below 16 pixels"),
        "exact_duplicates": (9600, "no image is in one split more than once, byte for byte"),
        "conflicting_labels": (9600, "no image is labelled in more than one way"),
        "duplicates_across_splits": (9600, "no image is in two splits (3,200 in train, 3,200 in val, 3,200 in test)"),
        "class_missing_from_split": (2, "each of 2 classes has images in train, val, test"),
        "imbalance": (2, "classes are balanced: 4,800 images each"),
        "class_names_collide": (2, "no two classes differ only by case or spaces"),
    }


@pytest.mark.parametrize(
    "check",
    ["undecodable", "tiny_images", "exact_duplicates", "conflicting_labels", "duplicates_across_splits", "imbalance"],
)
def test_what_was_found_is_not_told_as_in_order(check: str) -> None:
    everything = told(entries())

    assert told(entries(), "class", check) == {name: each for name, each in everything.items() if name != check}


def test_a_class_that_is_missing_from_a_split_is_not_told_as_in_order() -> None:
    assert "class_missing_from_split" not in told(entries(), "class", "class_missing_from_val")


def test_uneven_classes_are_not_called_balanced() -> None:
    assert told(entries(train=9, smallest=3))["imbalance"] == (
        2,
        "none of the classes has 10 times the images of another: 9 to 27 images each",
    )


def test_groups_labels_and_values_have_checks_of_their_own() -> None:
    grouped = told(entries(group="yes"))
    labels = told(entries(target="labels"), "labels")
    values = told(entries(target="number"), "number")

    assert grouped["groups_across_splits"] == (24, "each of 24 groups is in one split")
    assert labels["label_on_every_image"][1] == "no label is on every image of the train split"
    assert labels["imbalance"][1].startswith("labels are balanced")
    assert values["values_far_away"] == (24, "values lie between 0 and 3, none far away from the others")
    assert "imbalance" not in values


def test_a_single_image_with_a_single_label_is_told_in_the_singular() -> None:
    image = ManifestEntry(
        file="a.png",
        member="a.png",
        split="train",
        label="",
        labels=("bag",),
        group="patient",
        sha256="a",
        facts={"width": 28, "height": 28},
    )

    found = {each["check"]: each["message"] for each in passed([image], ["bag"], "labels", IMAGE, found=set())}

    assert found["undecodable"] == "1 image was read, and it can be decoded"
    assert found["groups_across_splits"] == "the only group is in one split"
    assert found["class_missing_from_split"] == "the only label has images in train"
    assert found["imbalance"].endswith(": 1 image each")
