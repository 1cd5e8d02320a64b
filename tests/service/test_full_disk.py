"""A service whose disk is full: calls that write are refused with 507 and change nothing, all others go on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests import samples
from tests.service.live_service import Service, a_plain_image, an_archive, problem_of, running
from tests.service.onnx_files import write_colour_net
from tests.small_disks import SmallDisk, small_disk

MOST_TRIES = 300


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    with small_disk(tmp_path_factory.mktemp("disk") / "small", size_mb=12) as mounted:
        yield mounted


@pytest.fixture(scope="module")
def service(small: SmallDisk) -> Iterator[Service]:
    with running(samples.quick_settings(small.folder / "home")) as live:
        yield live


@pytest.fixture
def dataset(service: Service) -> str:
    return str(service.upload()["id"])


@pytest.fixture
def full(dataset: str, small: SmallDisk) -> Iterator[SmallDisk]:
    """The service's disk, filled to its last page."""
    assert dataset, "it came while there was room"
    small.fill()
    yield small
    small.free()


def until_refused(call: Callable[[], httpx.Response]) -> tuple[list[int], httpx.Response]:
    """Return the answers before the first refusal, and that: SQLite still has some pages of its own to write to."""
    statuses = []
    for _ in range(MOST_TRIES):
        answer = call()
        if not answer.is_success:
            return statuses, answer
        statuses.append(answer.status_code)
    raise AssertionError(f"{MOST_TRIES} calls were taken on a full disk")


def train(service: Service, dataset: str, *, key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return service.http.post("/train", json={"name": "flowers", "dataset": dataset}, headers=headers)


def test_a_job_is_refused_with_507_and_the_same_request_taken_when_there_is_room(
    service: Service, dataset: str, full: SmallDisk
) -> None:
    number = iter(range(MOST_TRIES))
    taken, refused = until_refused(lambda: train(service, dataset, key=f"key-{next(number)}"))

    full.free()
    again = train(service, dataset, key=f"key-{next(number) - 1}")

    problem_of(refused, 507, "storage_full")
    assert set(taken) <= {202}
    assert again.status_code == 202
    assert "Idempotency-Replayed" not in again.headers


@pytest.mark.parametrize(
    ("path", "kind"), [("/datasets?name=more", "application/zip"), ("/weights?name=mine", "application/octet-stream")]
)
def test_an_upload_is_refused_with_507_and_leaves_nothing(
    service: Service, full: SmallDisk, path: str, kind: str
) -> None:
    before = full.files

    answer = service.http.post(path, content=an_archive(seed=7), headers={"Content-Type": kind})

    problem_of(answer, 507, "storage_full")
    assert full.files == before


def test_cancels_and_previews_are_refused_with_507(service: Service, dataset: str, full: SmallDisk) -> None:
    full.free()
    job = train(service, dataset).json()["id"]
    full.fill()
    _, train_refused = until_refused(lambda: train(service, dataset))

    preview = service.http.post(f"/datasets/{dataset}:preview?wait_s=0", json={"augmentation": []})
    cancel = service.http.post(f"/jobs/{job}:cancel")

    problem_of(train_refused, 507, "storage_full")
    assert {preview.status_code, cancel.status_code} <= {200, 202, 507}
    assert service.http.get(f"/jobs/{job}").json()["state"] == ("canceled" if cancel.is_success else "queued")


def test_reading_goes_on(service: Service, dataset: str, full: SmallDisk) -> None:
    until_refused(lambda: train(service, dataset))

    paths = ["/health/live", "/jobs?limit=100", f"/datasets/{dataset}", f"/datasets/{dataset}/report", "/models"]
    assert {path: service.http.get(path).status_code for path in paths} == dict.fromkeys(paths, 200)
    assert full.folder.exists()


def test_a_model_is_loaded_and_predicts_though_nothing_can_be_kept(
    service: Service, small: SmallDisk, tmp_path: Path
) -> None:
    service.publish("colours", write_colour_net(tmp_path / "net.onnx"))
    small.fill()
    before = small.files

    answer = service.http.post(
        "/predict", data={"model": "colours"}, files={"files": ("red.png", a_plain_image((200, 0, 0)), "image/png")}
    )

    kept = set(small.files) - set(before)
    small.free()
    assert answer.status_code == 200, answer.text
    assert kept == set()
