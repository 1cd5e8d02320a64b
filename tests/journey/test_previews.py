"""A contact sheet of augmentation: asked of a real service, drawn by a real trainer."""

import io
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from service.cli.main import app
from tests.models_store.tasks.image.image_files import encoded
from tests.samples import quick_settings
from tests.service.live_service import Service, problem_of, running
from workers.process.claim_loop import work
from workers.process.persistence import StopFlag

GAP = 4


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a service whose jobs a worker does, as soon as they come."""
    settings = quick_settings(tmp_path_factory.mktemp("previews") / "home")
    stop = StopFlag()

    def labour() -> None:
        while not stop.is_set:
            work(settings, stop=stop)
            time.sleep(0.05)

    with running(settings) as service:
        thread = threading.Thread(target=labour)
        thread.start()
        yield service
        stop.set()
        thread.join()


def ask(service: Service, dataset: str, **changes: object) -> httpx.Response:
    body = {"augmentation": [{"kind": "random_rotation"}, {"kind": "mixup"}], "images": 3, "views": 2} | changes
    url = f"/datasets/{dataset}:preview?wait_s=100"
    return service.http.post(url, json=body | {"input": {"size": 32}}, timeout=110)


def tile(answer: httpx.Response, row: int, column: int) -> np.ndarray:
    pixels = np.asarray(Image.open(io.BytesIO(answer.content)))
    top, left = GAP + row * (32 + GAP), GAP + column * (32 + GAP)
    return pixels[top : top + 32, left : left + 32]


@pytest.mark.slow
def test_a_sheet_shows_images_as_they_are_and_as_training_changes_them(live: Service) -> None:
    dataset = str(live.upload()["id"])

    sheet, again = ask(live, dataset), ask(live, dataset)

    assert (sheet.status_code, sheet.headers["content-type"]) == (200, "image/png"), sheet.text
    assert Image.open(io.BytesIO(sheet.content)).size == (3 * 36 + GAP, 3 * 36 + GAP)
    assert {int(tile(sheet, row, 0).mean(axis=(0, 1)).argmax()) for row in range(3)} == {0, 1, 2}  # a class in each row
    assert not np.array_equal(tile(sheet, 0, 0), tile(sheet, 0, 1))
    assert not np.array_equal(tile(sheet, 0, 1), tile(sheet, 0, 2))
    assert again.content == sheet.content
    assert live.http.get("/models").json()["items"] == []


def test_a_sheet_of_16_bits_is_scaled_by_the_white_level(live: Service) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(12):
            values = np.full((32, 32), 3000 + 90 * number, np.uint16)  # of 12 bits
            archive.writestr(f"{'ab'[number % 2]}/{number}.png", encoded(Image.fromarray(values), "PNG"))
    headers = {"Content-Type": "application/zip"}
    dataset = live.http.post("/datasets?name=deep", content=buffer.getvalue(), headers=headers).json()["id"]

    def brightest(**more: int) -> int:
        body = {"augmentation": [], "images": 1, "views": 1, "input": {"size": 32} | more}
        answer = live.http.post(f"/datasets/{dataset}:preview?wait_s=100", json=body, timeout=110)
        return int(tile(answer, 0, 0).max())

    assert brightest() < 16
    assert brightest(white_level=4095) > 180


def test_without_augmentation_every_copy_is_the_image(live: Service) -> None:
    sheet = ask(live, str(live.upload()["id"]), augmentation=[])

    assert np.array_equal(tile(sheet, 1, 0), tile(sheet, 1, 2))


def test_who_does_not_wait_gets_the_job(live: Service) -> None:
    dataset = live.upload()["id"]

    answer = live.http.post(f"/datasets/{dataset}:preview?wait_s=0", json={"augmentation": []})

    job = answer.json()
    assert (answer.status_code, job["kind"]) == (202, "preview")
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    problem_of(live.http.get(f"/jobs/{job['id']}/preview.png"), 404, "preview_not_there")


def test_the_command_line_writes_the_sheet(live: Service, tmp_path: Path) -> None:
    dataset, parts, sheet = live.upload()["id"], tmp_path / "spec.json", tmp_path / "sheet.png"
    parts.write_text(json.dumps({"augmentation": [{"kind": "random_flip"}]}))

    command = ["--url", live.url, "datasets", "preview", str(dataset), str(parts), "-o", str(sheet), "--size", "16"]
    ended = CliRunner().invoke(app, command)

    assert ended.exit_code == 0, ended.output
    assert Image.open(sheet).size == (7 * 20 + GAP, 6 * 20 + GAP)


def test_a_bad_part_and_too_large_a_sheet_are_refused(live: Service) -> None:
    dataset = live.upload()["id"]

    bad = live.http.post(f"/datasets/{dataset}:preview", json={"augmentation": [{"kind": "gaussian_blurr"}]})
    large = live.http.post(
        f"/datasets/{dataset}:preview", json={"augmentation": [], "images": 32, "views": 32, "input": {"size": 512}}
    )

    assert "gaussian_blur" in problem_of(bad, 422, "invalid_body")["detail"]
    assert "pixels" in problem_of(large, 422, "invalid_body")["detail"]
    problem_of(live.http.post("/datasets/ds_0000000000:preview", json={"augmentation": []}), 404, "dataset_not_found")


def text_preview(service: Service, **changes: object) -> tuple[str, httpx.Response]:
    """Return a dataset of texts, and the answer to a request for a preview of it."""
    table = "text,label\n" + "\n".join(
        f"the room {number} was very clean and quiet,{number % 2}" for number in range(40)
    )
    headers = {"Content-Type": "text/csv"}
    dataset = service.http.post("/datasets?name=rooms", content=table, headers=headers).raise_for_status().json()["id"]
    body = {"augmentation": [{"kind": "random_swap", "probability": 0.1}, {"kind": "typos"}], "texts": 2, "views": 4}
    return dataset, service.http.post(f"/datasets/{dataset}:preview?wait_s=100", json=body | changes, timeout=110)


def test_texts_are_shown_beside_what_each_part_and_all_of_them_make_of_them(live: Service, tmp_path: Path) -> None:
    dataset, answer = text_preview(live)
    (tmp_path / "parts.json").write_text('[{"kind": "random_swap"}]')
    command = ["--url", live.url, "datasets", "preview", dataset, str(tmp_path / "parts.json"), "--examples", "1"]

    page = live.http.get(answer.headers["content-location"].replace(".json", ".html"))
    shown = CliRunner().invoke(app, command)
    written = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "preview.html")])

    items = answer.raise_for_status().json()["items"]
    assert {each["target"] for each in items} == {"0", "1"}
    for each in items:
        assert [change["part"] for change in each["parts"]] == ["random_swap", "typos"]
        assert all(change["text"] != each["text"] for change in each["parts"])
        assert len(each["views"]) == 4
    assert "<mark>" in page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert shown.exit_code == 0, shown.output
    assert "random_swap" in shown.stdout
    assert written.exit_code == 0, written.output
    assert (tmp_path / "preview.html").read_text().startswith("<!doctype html>")


def test_a_part_that_lacks_something_in_the_dataset_is_refused_by_its_place(live: Service) -> None:
    _, answer = text_preview(live, augmentation=[{"kind": "typos"}, {"kind": "synonym_replacement"}])

    (error,) = problem_of(answer, 422, "invalid_body")["errors"]
    assert error["pointer"] == "/augmentation/1"
    assert "synonyms.csv" in error["message"]


def test_a_preview_of_texts_has_no_picture(live: Service) -> None:
    dataset, _ = text_preview(live)

    images = live.http.post(f"/datasets/{dataset}:preview", json={"augmentation": [], "images": 3})

    (error,) = problem_of(images, 422, "invalid_body")["errors"]
    assert (error["pointer"], "texts" in error["allowed"]) == ("/images", True)
