"""Datasets of another task than images, over HTTP: uploaded, described, listed and fetched by the same calls."""

from collections.abc import Iterator

import pytest

from models_store.tasks import rooms
from tests import samples
from tests.models_store.datasets.dataset_stores import a_zip
from tests.models_store.datasets.rows_of_numbers import ROWS, row_files
from tests.service.live_service import Service, problem_of, running

FILES = row_files("down", "up")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rooms, "TASKS", (*rooms.TASKS, ROWS))
        with running(samples.quick_settings(tmp_path_factory.mktemp("rows") / "home")) as live:
            yield live


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    answer = service.http.post("/datasets", content=a_zip(FILES), headers={"Content-Type": "application/zip"})
    assert answer.status_code == 201, answer.text
    return f"/datasets/{answer.json()['id']}"


def test_a_dataset_of_rows_is_described_without_what_images_alone_have(service: Service, dataset: str) -> None:
    described = service.http.get(dataset).json()

    assert (described["classes"], described["images"]) == (["down", "up"], 20)
    assert (described["median_side"], described["largest_16_bit"], described["grey"]) == (None, None, False)
    assert (described["examples"], described["facts"]) == ("rows", {})


def test_rows_are_listed_and_fetched_as_they_were_uploaded(service: Service, dataset: str) -> None:
    items = service.http.get(f"{dataset}/images", params={"limit": 20, "class": "up"}).json()["items"]
    first = items[0]
    fetched = service.http.get(first["url"])

    assert {item["file"] for item in items} == {name for name in FILES if name.startswith("up/")}
    assert (first["width"], first["height"], first["thumbnail_url"]) == (None, None, None)
    assert fetched.headers["content-type"] == first["media_type"] == "application/octet-stream"
    assert fetched.content == FILES[first["file"]]


def test_rows_are_shown_by_their_beginning(service: Service, dataset: str) -> None:
    listed = service.http.get(f"{dataset}/images").json()["items"]
    drawn = service.http.get(f"{dataset}/samples", params={"split": "train"}).json()["items"]

    for item in listed + drawn:
        assert item["text"] == FILES[item["file"]].decode()[:10]


def test_a_row_has_no_thumbnail(service: Service, dataset: str) -> None:
    problem = problem_of(service.http.get(f"{dataset}/images/img_0/thumbnail"), 404, "thumbnail_not_there")

    assert "rows" in problem["detail"]


def test_an_augmentation_of_rows_is_not_previewed(service: Service, dataset: str) -> None:
    problem = problem_of(service.http.post(f"{dataset}:preview", json={"augmentation": []}), 404, "preview_not_there")

    assert "rows" in problem["detail"]
