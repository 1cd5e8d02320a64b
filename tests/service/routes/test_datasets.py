"""POST /datasets and what follows: archives stream in, and nothing half-written stays."""

import bz2
import errno
import gzip
import io
import lzma
import socket
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from backports import zstd

from tests import samples
from tests.service.live_service import Service, an_archive, problem_of, running


def post(service: Service, content: Any, content_type: str = "application/zip", **query: str) -> httpx.Response:
    return service.http.post("/datasets", params=query, content=content, headers={"Content-Type": content_type})


def a_tar(image: Callable[..., bytes]) -> bytes:
    """Return a tar of two class folders."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for index in range(24):
            entry = tarfile.TarInfo(f"{'ab'[index % 2]}/{index}.png")
            content = image(hue=index % 2, seed=5000 + index)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def left_behind(service: Service) -> list[str]:
    """Return the files below the home that are neither the database nor a stored blob."""
    home = service.context.settings.espalier_home
    files = (path.relative_to(home) for path in home.rglob("*") if path.is_file())
    return [str(path) for path in files if path.parts[0] != "blobs" and not path.name.startswith("espalier.db")]


def test_a_raw_zip_becomes_a_dataset(service: Service) -> None:
    answer = post(service, an_archive(seed=1), name="leaves")

    document = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/datasets/{document['id']}")
    assert (document["name"], document["classes"], document["images"]) == ("leaves", ["blue", "green", "red"], 36)
    assert document["split"] == "made"
    assert service.http.get(answer.headers["location"]).json() == document


def test_the_same_content_again_is_the_same_dataset(service: Service) -> None:
    first = post(service, an_archive(seed=2), name="a")
    again = post(service, an_archive(seed=2), name="b")

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]


def test_a_form_names_the_dataset_by_its_file(service: Service) -> None:
    answer = service.http.post("/datasets", files={"file": ("my flowers.zip", an_archive(seed=3))})

    assert (answer.status_code, answer.json()["name"]) == (201, "my flowers")


def test_a_compressed_tar_is_read(service: Service) -> None:
    buffer = io.BytesIO()
    with (
        tarfile.open(fileobj=buffer, mode="w:gz") as archive,
        zipfile.ZipFile(io.BytesIO(an_archive(seed=4))) as images,
    ):
        for name in images.namelist():
            member = tarfile.TarInfo(name)
            member.size = images.getinfo(name).file_size
            archive.addfile(member, images.open(name))

    answer = post(service, buffer.getvalue(), "application/gzip", name="tarred")

    assert (answer.status_code, answer.json()["images"]) == (201, 36)


def test_a_streamed_upload_needs_no_length(service: Service) -> None:
    data = an_archive(seed=5)

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(data), 1000):
            yield data[start : start + 1000]

    assert post(service, chunks(), name="streamed").status_code == 201


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        ("tar", bytes),
        ("tar.gz", gzip.compress),
        ("tar.bz2", bz2.compress),
        ("tar.xz", lzma.compress),
        ("tar.zst", zstd.compress),
    ],
)
def test_a_tar_becomes_a_dataset_whatever_it_is_compressed_with_and_called(
    service: Service, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    archive = compress(a_tar(samples.a_png))
    types = [
        "application/x-bzip2",
        "binary/octet-stream",
        "Application/X-XZ; charset=binary",
        "application/zstd",
        "application/x-compressed-tar",
    ]

    answers = [post(service, archive, content_type, name="packed") for content_type in types]
    form = service.http.post("/datasets", files={"file": (f"leaves.{suffix}", archive)})

    assert [answer.status_code // 100 for answer in answers] == [2] * len(types), answers[0].text
    assert form.json()["id"] == answers[0].json()["id"]


@pytest.mark.parametrize("path", ["/datasets", "/weights", "/predict?model=leaves", "/train"])
def test_a_body_without_a_content_type_is_named_as_that(service: Service, path: str) -> None:
    problem = problem_of(service.http.post(path, content=b"x"), 415, "unsupported_media_type")

    assert "without a content type" in problem["detail"]


def test_a_content_type_that_is_not_read_names_all_that_are(service: Service) -> None:
    problem = problem_of(post(service, b"x", "application/vnd.rar"), 415, "unsupported_media_type")

    assert {"application/zip", "application/x-xz", "application/x-gtar", "multipart/form-data"} <= {
        *problem["errors"][0]["allowed"]
    }


def test_the_report_lists_the_checks(service: Service) -> None:
    buffer = io.BytesIO(an_archive(seed=9))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("red/twin.png", archive.read("red/000.png"))

    dataset = post(service, buffer.getvalue(), name="reported").json()

    report = service.http.get(f"/datasets/{dataset['id']}/report").json()
    checks, passed = report["checks"], {each["check"]: each for each in report["passed"]}
    twins = next(check for check in checks if check["check"] == "exact_duplicates")
    assert {"severity", "count", "message", "files"} <= twins.keys()
    assert "twin.png" in str(twins["files"])
    assert "exact_duplicates" not in passed
    assert passed["undecodable"]["count"] == 37
    assert "37 images were read" in passed["undecodable"]["message"]


def test_samples_are_drawn_from_the_split_that_was_asked_for(service: Service) -> None:
    dataset = service.upload(name="sampled")
    url = f"/datasets/{dataset['id']}/samples"

    drawn = service.http.get(url, params={"split": "test", "limit": 2, "seed": 1}).json()["items"]
    every = service.http.get(url, params={"split": "test", "limit": 100}).json()["items"]

    assert len(drawn) == 2
    assert all(each in every and each["file"].startswith(each["label"]) for each in drawn)
    assert len(every) == sum(dataset["counts"]["test"].values())
    assert all(service.http.get(each["url"]).raise_for_status().content for each in drawn)


def test_datasets_come_in_pages_newest_first(tmp_path: Path) -> None:
    with running(samples.quick_settings(tmp_path / "home")) as service:
        made = [post(service, an_archive(seed=seed), name=f"n{seed}").json()["id"] for seed in (10, 20, 30)]

        first = service.http.get("/datasets?limit=2").json()
        second = service.http.get("/datasets", params={"limit": 2, "cursor": first["next"]}).json()

        assert [each["id"] for each in first["items"] + second["items"]] == made[::-1]
        assert second["next"] is None


def test_a_deleted_dataset_is_gone(service: Service) -> None:
    dataset = post(service, an_archive(seed=6), name="short").json()["id"]

    answer = service.http.delete(f"/datasets/{dataset}")

    assert (answer.status_code, answer.content) == (204, b"")
    problem_of(service.http.get(f"/datasets/{dataset}"), 404, "dataset_not_found")


def test_a_dataset_that_a_job_uses_is_kept(service: Service) -> None:
    dataset = post(service, an_archive(seed=7), name="used").json()["id"]
    service.http.post("/train", json={"name": "flowers", "dataset": dataset}).raise_for_status()

    problem_of(service.http.delete(f"/datasets/{dataset}"), 409, "dataset_in_use")


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"", "application/zip", 422, "no_archive"),
        (b"", "text/csv", 422, "no_table"),
        (b"", "application/jsonl", 422, "no_table"),
        (b"abc", "text/html", 415, "unsupported_media_type"),
        (b"abc", "text/csv", 422, "dataset_unusable"),
        (b"{}", "application/json", 415, "unsupported_media_type"),
        (b"--x--", "multipart/form-data", 400, "bad_multipart"),
        (b"nothing", "multipart/form-data; boundary=x", 400, "bad_multipart"),
    ],
)
def test_a_body_that_is_no_archive_is_refused(
    service: Service, content: bytes, content_type: str, status: int, code: str
) -> None:
    problem_of(post(service, content, content_type), status, code)
    assert left_behind(service) == []


@pytest.mark.parametrize(("content", "status"), [(b"this is no archive at all", 415), (an_archive()[:2000], 422)])
def test_a_broken_archive_is_refused_and_leaves_nothing(service: Service, content: bytes, status: int) -> None:
    answer = post(service, content, name="broken")

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert left_behind(service) == []


def test_a_form_with_another_field_names_the_right_one(service: Service) -> None:
    answer = service.http.post("/datasets", files={"archive": ("a.zip", an_archive())})

    assert "'file'" in problem_of(answer, 422, "no_archive")["detail"] or "file" in answer.json()["detail"]
    assert left_behind(service) == []


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(samples.quick_settings(tmp_path_factory.mktemp("narrow") / "home", upload_max_bytes=50_000)) as live:
        yield live


def test_an_archive_over_the_cap_is_refused_by_its_length(narrow: Service) -> None:
    problem_of(post(narrow, b"x" * 60_000), 413, "body_too_large")
    assert left_behind(narrow) == []


@pytest.mark.parametrize("form", [False, True])
def test_an_archive_over_the_cap_is_refused_while_it_streams(narrow: Service, form: bool) -> None:  # noqa: FBT001  parametrised
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n' if form else b""

    def chunks() -> Iterator[bytes]:
        yield head
        for _ in range(60):
            yield b"x" * 1000

    answer = post(narrow, chunks(), "multipart/form-data; boundary=x" if form else "application/zip")

    problem_of(answer, 413, "body_too_large")
    assert left_behind(narrow) == []


def test_a_client_that_hangs_up_leaves_nothing_behind(service: Service) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /datasets?name=gone HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/zip\r\n"
            b"Content-Length: 1000000\r\n\r\n" + b"x" * 200_000
        )
        wait_until(lambda: len(left_behind(service)) == 1)

    wait_until(lambda: left_behind(service) == [])
    assert service.http.get("/health/live").status_code == 200


def test_a_full_disk_is_told_and_leaves_nothing(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = open

    class FullDisk(io.BufferedWriter):
        def write(self, _data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def on_a_full_disk(descriptor: int, *_mode: object, **_options: object) -> FullDisk:
        return FullDisk(real_open(descriptor, "wb", buffering=0))  # type: ignore[arg-type]

    monkeypatch.setattr("service.requests.uploads.os.fdopen", on_a_full_disk)
    answer = post(service, an_archive(seed=8))
    monkeypatch.undo()

    problem_of(answer, 507, "storage_full")
    assert left_behind(service) == []
    assert post(service, an_archive(seed=8)).status_code == 201


@pytest.mark.parametrize("query", ["undecodable=maybe", "name=", "name=%00", "name=" + "x" * 201])
def test_a_query_that_is_out_of_range_is_refused(service: Service, query: str) -> None:
    answer = service.http.post(f"/datasets?{query}", content=b"x", headers={"Content-Type": "application/zip"})

    assert (
        problem_of(answer, 422, "invalid_request")["errors"][0]["pointer"] == f"query:{query.split('=', maxsplit=1)[0]}"
    )


@pytest.mark.parametrize("dataset", ["ds_0123456789", "nothing", "%2e%2e", "a%00b", "ds_" + "x" * 500])
def test_an_unknown_dataset_is_not_found(service: Service, dataset: str) -> None:
    answer = service.http.get(f"/datasets/{dataset}")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def wait_until(is_so: Any) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, "waited 20 s in vain"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("column", "cells", "target", "sample"),
    [
        ("label", ["oak", "elm"], "class", {"label": "oak", "labels": None, "value": None}),
        ("labels", ["oak;elm", ""], "labels", {"label": None, "labels": ["elm", "oak"], "value": None}),
        ("value", ["3.5", "-1"], "number", {"label": None, "labels": None, "value": 3.5}),
    ],
)
def test_a_dataset_says_what_its_images_have(
    column: str, cells: list[str], target: str, sample: dict[str, Any], service: Service
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        rows = [f"{index}.png,{cells[index % 2]},{index}" for index in range(30)]
        archive.writestr("labels.csv", "\n".join([f"file,{column},group", *rows]))
        for index in range(30):
            archive.writestr(f"{index}.png", samples.a_png(size=(16, 16), seed=index))

    document = post(service, buffer.getvalue(), name=column).json()
    drawn = service.http.get(f"/datasets/{document['id']}/samples", params={"split": "train", "limit": 24}).json()

    assert (document["target"], document["grouped"], document["grey"]) == (target, True, False)
    assert document["splits"] == {"train": 24, "val": 3, "test": 3}
    assert document["classes"] == ([] if column == "value" else ["elm", "oak"])
    assert (document["values"] or {}).get("maximum") == (3.5 if column == "value" else None)
    even = [each for each in drawn["items"] if int(each["file"].partition(".")[0]) % 2 == 0]
    assert even
    assert all(each == sample | {"file": each["file"], "url": each["url"], "text": None} for each in even)


def a_table(*, encoding: str = "utf-8") -> bytes:
    """Return a table of 40 different texts of two classes."""
    rows = [f"房间{chr(0x4E00 + at)}很大,{('好', '不好')[at % 2]}" for at in range(40)]
    return "\n".join(["text,label", *rows]).encode(encoding)


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv; charset=utf-8"])
def test_a_table_of_texts_needs_no_archive(service: Service, content_type: str) -> None:
    made = post(service, a_table(), content_type, name="reviews").raise_for_status().json()

    form = service.http.post("/datasets", files={"file": ("reviews.csv", a_table())}).raise_for_status().json()
    encoded = post(service, a_table(encoding="gb18030"), "text/csv", encoding="gb18030").raise_for_status().json()

    assert (made["name"], made["splits"], made["leaked"]) == ("reviews", {"train": 32, "val": 4, "test": 4}, {})
    assert {form["id"], encoded["id"]} == {made["id"]}


def test_a_table_is_read_in_the_charset_of_its_content_type(service: Service) -> None:
    made = post(service, a_table(), "text/csv").raise_for_status().json()

    encoded = post(service, a_table(encoding="gb18030"), "text/csv; charset=GB2312").raise_for_status().json()

    assert encoded["id"] == made["id"]
    problem_of(post(service, a_table(), "text/csv; charset=ebcdic"), 415, "wrong_charset")
    problem = problem_of(post(service, a_table(), "text/csv; charset=utf-8", encoding="big5"), 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == "query:encoding"


def test_a_table_in_another_encoding_than_it_is_said_to_be_is_refused_with_the_byte(service: Service) -> None:
    problem = problem_of(post(service, a_table(encoding="gb18030"), "text/csv"), 422, "dataset_unusable")

    (error,) = problem["errors"]
    assert (error["code"], error["pointer"]) == ("wrong_encoding", "texts.csv")
    assert "byte 11 in line 2 is not UTF-8" in error["message"]
    assert left_behind(service) == []
