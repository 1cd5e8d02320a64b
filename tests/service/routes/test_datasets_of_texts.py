"""Datasets of texts, over HTTP: shown as text, described by their lengths, and refused by tasks of other examples."""

import random
from collections.abc import Iterator

import pytest

from tests import samples
from tests.models_store.datasets.dataset_stores import a_zip
from tests.service.live_service import Service, problem_of, running

WORDS = [
    "bed",
    "door",
    "lamp",
    "noise",
    "price",
    "smell",
    "staff",
    "street",
    "towel",
    "view",
    "wall",
    "window",
    "water",
    "night",
    "floor",
    "heat",
    "light",
    "chair",
]
PLACES = [(name, number) for name in ("bad", "good") for number in range(20)]
FILES = {
    f"{name}/{number}.txt": f"{name} {' '.join(random.Random(f'{name}{number}').sample(WORDS, 8))}\n".encode()
    for name, number in PLACES
}
LONG = "good/long.txt"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(samples.quick_settings(tmp_path_factory.mktemp("texts") / "home")) as live:
        yield live


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    files = FILES | {LONG: ("很好 " * 200).encode()}
    answer = service.http.post("/datasets", content=a_zip(files), headers={"Content-Type": "application/zip"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_a_dataset_of_texts_says_how_long_they_are_and_in_what_script(service: Service, dataset: str) -> None:
    described = service.http.get(f"/datasets/{dataset}").json()

    assert (described["examples"], described["images"]) == ("texts", 41)
    assert described["facts"].keys() >= {"characters_95", "words_95", "han_share"}
    assert 0 < described["facts"]["han_share"] < 1
    assert (described["median_side"], described["grey"]) == (None, False)


def test_texts_are_listed_and_drawn_with_their_beginnings(service: Service, dataset: str) -> None:
    listed = service.http.get(f"/datasets/{dataset}/images", params={"limit": 100}).json()["items"]
    drawn = service.http.get(f"/datasets/{dataset}/samples", params={"split": "train"}).json()["items"]

    shown = {item["file"]: item["text"] for item in listed}
    assert {name: text.decode().rstrip() for name, text in FILES.items()} == {name: shown[name] for name in FILES}
    assert shown[LONG] == ("很好 " * 200)[:200]
    assert all(item["text"] == shown[item["file"]] for item in drawn)
    assert {item["thumbnail_url"] for item in listed} == {None}


def test_a_text_is_fetched_as_plain_text(service: Service, dataset: str) -> None:
    first = service.http.get(f"/datasets/{dataset}/images").json()["items"][0]

    fetched = service.http.get(first["url"])

    assert fetched.headers["content-type"].startswith("text/plain")
    assert fetched.text.startswith(first["text"])


def test_a_task_of_images_is_refused_for_texts_and_the_tasks_of_texts_are_named(service: Service, dataset: str) -> None:
    asked = {"task": "image_classification", "name": "rooms", "dataset": dataset}

    for dry_run in ("true", "false"):
        problem = problem_of(service.http.post("/train", json=asked, params={"dry_run": dry_run}), 422, "invalid_body")
        (error,) = problem["errors"]
        assert (error["pointer"], error["allowed"]) == ("/task", ["text_classification"])
        assert "learns from images, and the dataset holds texts" in error["message"]


def test_a_dry_run_of_texts_has_a_reason_for_each_choice(service: Service, dataset: str) -> None:
    answer = service.http.post("/train", json={"name": "rooms", "dataset": dataset}, params={"dry_run": "true"})

    meant = answer.raise_for_status().json()
    assert meant["spec"]["task"] == "text_classification"
    reasons = {each["pointer"]: each["why"] for each in meant["decisions"]}
    assert reasons["/task"] == "each text of the dataset has one class"
    assert {"/backbone/kind", "/input/tokenizer/kind", "/input/max_tokens"} <= reasons.keys()
    assert not any("image" in why for why in reasons.values())
    assert not any("image" in warning for warning in meant["warnings"])
