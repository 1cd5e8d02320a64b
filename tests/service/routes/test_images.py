"""Images of datasets over HTTP: listed, filtered, fetched, as thumbnails; and whole datasets as archives."""

import csv
import hashlib
import io
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests import samples
from tests.samples import a_png
from tests.service.live_service import Service, a_plain_image, problem_of, running

Files = dict[str, bytes]


def a_zip(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def upload(service: Service, files: Files | bytes, **query: str) -> httpx.Response:
    content = files if isinstance(files, bytes) else a_zip(files)
    return service.http.post("/datasets", params=query, content=content, headers={"Content-Type": "application/zip"})


def created(service: Service, files: Files, **query: str) -> str:
    answer = upload(service, files, **query)
    assert answer.status_code in {200, 201}, answer.text
    return f"/datasets/{answer.json()['id']}"


def pngs(count: int, *, seed: int = 0, hue: int = 0) -> list[bytes]:
    return [a_png(hue=hue, seed=seed + number) for number in range(count)]


def of_folders() -> Files:
    """Classes in given splits, a copy within train, and a copy that train and test share."""
    files: Files = {}
    for hue, label in enumerate(("daisy", "rose")):
        for split, count in (("train", 20), ("val", 5), ("test", 5)):
            for number, image in enumerate(pngs(count, seed=1000 * hue + 100 * len(split) + count, hue=hue)):
                files[f"{split}/{label}/{number:02d}.png"] = image
    files["train/daisy/copy.png"] = files["train/daisy/00.png"]
    files["test/rose/leak.png"] = files["train/rose/00.png"]
    return files


@pytest.fixture(scope="module")
def folders() -> Files:
    return of_folders()


@pytest.fixture(scope="module")
def dataset(service: Service, folders: Files) -> str:
    return created(service, folders, name="flowers")


def images(service: Service, dataset: str, **query: Any) -> list[dict[str, Any]]:
    """Return all images that the query finds, over pages of 7."""
    found, cursor = [], None
    while True:
        answer = service.http.get(
            f"{dataset}/images", params={"limit": 7, **query} | ({"cursor": cursor} if cursor else {})
        )
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= 7
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            return found


def test_every_image_is_listed_once_over_all_pages(service: Service, dataset: str, folders: Files) -> None:
    found = images(service, dataset)

    assert sorted(each["file"] for each in found) == sorted(folders)
    assert len({each["id"] for each in found}) == len(folders)


def test_an_image_is_told_with_all_that_is_known_of_it(service: Service, dataset: str, folders: Files) -> None:
    image = next(each for each in images(service, dataset) if each["file"] == "test/rose/01.png")

    content = folders["test/rose/01.png"]
    path = f"{dataset}/images/{image['id']}"
    assert image == {
        "id": image["id"],
        "file": "test/rose/01.png",
        "split": "test",
        "label": "rose",
        "labels": None,
        "value": None,
        "group": None,
        "width": 40,
        "height": 32,
        "size_bytes": len(content),
        "media_type": "image/png",
        "sha256": hashlib.sha256(content).hexdigest(),
        "findings": [],
        "url": path,
        "text": None,
        "thumbnail_url": f"{path}/thumbnail",
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"split": "val"}, 10),
        ({"class": "daisy"}, 31),
        ({"class": "rose", "split": "test"}, 6),
        ({"finding": "exact_duplicates"}, 2),
        ({"finding": "duplicates_across_splits"}, 2),
        ({"finding": "duplicates_across_splits", "split": "test"}, 1),
        ({"finding": "exact_duplicates", "class": "rose"}, 0),
        ({"finding": "conflicting_labels"}, 0),
        ({"finding": "mixed_sizes"}, None),
    ],
)
def test_images_are_filtered(service: Service, dataset: str, query: dict[str, str], expected: int | None) -> None:
    if expected is None:  # no check of this report, and none that finds images
        problem = problem_of(service.http.get(f"{dataset}/images", params=query), 422, "finding_not_found")
        assert "exact_duplicates" in problem["detail"]
        return

    found = images(service, dataset, **query)

    assert len(found) == expected
    assert all(each["split"] == query.get("split", each["split"]) for each in found)
    assert all(each["label"] == query.get("class", each["label"]) for each in found)
    assert all(query.get("finding", "") in ["", *each["findings"]] for each in found)


def test_what_no_image_can_have_is_refused(service: Service, dataset: str) -> None:
    near = problem_of(service.http.get(f"{dataset}/images", params={"class": "dasy"}), 422, "class_not_found")
    problem_of(service.http.get(f"{dataset}/images", params={"split": "all"}), 422, "invalid_request")
    problem_of(service.http.get(f"{dataset}/images", params={"limit": 101}), 422, "invalid_request")
    problem_of(service.http.get(f"{dataset}/images", params={"cursor": "x"}), 422, "invalid_request")
    problem_of(service.http.get(f"{dataset}/images", params={"label": "rose"}), 422, "unknown_query_parameter")
    problem_of(service.http.get("/datasets/ds_0000000009/images"), 404, "dataset_not_found")

    assert "did you mean 'daisy'" in near["detail"]
    assert service.http.get(f"{dataset}/images", params={"cursor": "999999999"}).json() == {"items": [], "next": None}


def test_findings_that_a_report_names_only_in_part_are_found_whole(service: Service) -> None:
    tiny = [a_plain_image((number, hue, 3), size=(8, 8)) for hue in (10, 200) for number in range(130)]
    files = {f"{'ab'[place // 130]}/{place:03d}.png": image for place, image in enumerate(tiny)}

    dataset = created(service, files, name="tiny")

    report = service.http.get(f"{dataset}/report").json()["checks"]
    assert [(each["count"], len(each["files"])) for each in report if each["check"] == "tiny_images"] == [(260, 200)]
    assert len(images(service, dataset, finding="tiny_images")) == 260


def test_labels_and_numbers_are_listed_too(service: Service) -> None:
    labels, numbers = (created(service, files, name="tables") for files in (of_labels(), of_numbers()))

    bearing = images(service, labels, **{"class": "a"})
    without = [each for each in images(service, labels) if each["labels"] == []]
    values = [each["value"] for each in images(service, numbers)]

    assert all("a" in each["labels"] and each["label"] is None for each in bearing)
    assert bearing
    assert without
    assert sorted(values) == sorted(number / 7 - 3 for number in range(30))
    problem_of(service.http.get(f"{numbers}/images", params={"class": "a"}), 422, "class_not_found")


def test_an_image_is_fetched_byte_for_byte(service: Service, dataset: str, folders: Files) -> None:
    for image in images(service, dataset, split="test"):
        answer = service.http.get(image["url"])

        assert answer.content == folders[image["file"]]
        assert answer.headers["etag"] == f'"{image["sha256"]}"'
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        again = service.http.get(image["url"], headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_a_thumbnail_is_small_upright_and_in_proportion(service: Service) -> None:
    rotated = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = np.zeros((300, 900, 3), np.uint8)
    wide[:, :450] = (250, 0, 0)
    Image.fromarray(wide).save(rotated, "JPEG", exif=exif)
    files = {
        f"{label}/{number}.png": a_png(hue=hue, seed=number) for hue, label in enumerate("ab") for number in range(10)
    }
    dataset = created(service, files | {"a/turned.jpg": rotated.getvalue()}, name="turned")
    found = {each["file"]: each for each in images(service, dataset)}

    turned = service.http.get(found["a/turned.jpg"]["thumbnail_url"])
    small = service.http.get(found["b/3.png"]["thumbnail_url"])

    picture = Image.open(io.BytesIO(turned.content))
    assert (turned.headers["content-type"], picture.format, picture.size) == ("image/jpeg", "JPEG", (53, 160))
    assert picture.convert("RGB").getpixel((26, 20))[0] > 200  # type: ignore[index]  # red is on top
    assert picture.convert("RGB").getpixel((26, 140))[0] < 60  # type: ignore[index]
    assert Image.open(io.BytesIO(small.content)).size == (40, 32)
    headers = {"If-None-Match": turned.headers["etag"]}
    assert service.http.get(found["a/turned.jpg"]["thumbnail_url"], headers=headers).status_code == 304
    assert len(turned.content) < 10_000


def test_a_thumbnail_of_12_bits_in_16_is_not_nearly_black(service: Service) -> None:
    files: Files = {}
    for number in range(12):
        values = np.random.default_rng(number).integers(0, 4096, (24, 24)).astype(np.uint16)
        picture = io.BytesIO()
        Image.fromarray(values).save(picture, "PNG")
        files[f"{'ab'[number % 2]}/{number}.png"] = picture.getvalue()
    found = images(service, created(service, files, name="deep"))

    shown = Image.open(io.BytesIO(service.http.get(found[0]["thumbnail_url"]).content))

    assert 100 < np.asarray(shown.convert("L")).mean() < 155


@pytest.mark.parametrize("image_id", ["img_99999", "img_00", "img_1x", "1", "img_", "..%2f..%2fx", "img_1%00"])
def test_an_image_that_is_not_there_is_not_found(service: Service, dataset: str, image_id: str) -> None:
    for path in ("", "/thumbnail"):
        assert service.http.get(f"{dataset}/images/{image_id}{path}").status_code == 404


def test_images_of_another_owner_are_not_there(tmp_path: Path) -> None:
    keys = "ada:key-of-ada-0123456789,bob:key-of-bob-0123456789"
    with running(samples.quick_settings(tmp_path / "home", api_keys=keys)) as live:
        live.http.headers["Authorization"] = "Bearer key-of-ada-0123456789"
        dataset = f"/datasets/{live.upload('ada')['id']}"
        assert live.http.get(f"{dataset}/images/img_0").status_code == 200
        live.http.headers["Authorization"] = "Bearer key-of-bob-0123456789"

        for path in ("/images", "/images/img_0", "/images/img_0/thumbnail", ":export"):
            problem_of(live.http.get(f"{dataset}{path}"), 404, "dataset_not_found")


def test_lost_and_damaged_files_are_told(tmp_path: Path) -> None:
    with running(samples.quick_settings(tmp_path / "home")) as live:
        dataset = live.upload()["id"]
        stored = live.context.blobs.local(find_dataset(live, dataset).content_blob)
        whole = stored.read_bytes()
        live.http.get(f"/datasets/{dataset}/images").raise_for_status()
        stored.chmod(0o644)
        stored.write_bytes(whole.replace(b"IDAT", b"IDAX"))
        problem_of(live.http.get(f"/datasets/{dataset}/images/img_3"), 503, "dataset_lost")
        problem_of(live.http.get(f"/datasets/{dataset}/images/img_3/thumbnail"), 503, "dataset_lost")
        stored.unlink()
        for path in ("/images/img_3", ":export"):
            problem_of(live.http.get(f"/datasets/{dataset}{path}"), 503, "dataset_lost")


def find_dataset(live: Service, dataset_id: str) -> Any:
    from models_store.datasets import store as datasets  # noqa: PLC0415  beside its only use

    return datasets.find(live.context.database, dataset_id, owner="local")


def test_the_service_answers_others_while_images_are_read(service: Service, dataset: str) -> None:
    def look() -> None:
        with httpx.Client(base_url=service.url, timeout=60) as http:
            for number in range(25):
                http.get(f"{dataset}/images/img_{number}/thumbnail").raise_for_status()

    lookers = [threading.Thread(target=look) for _ in range(8)]
    for looker in lookers:
        looker.start()
    answered = 0
    while any(looker.is_alive() for looker in lookers):
        assert service.http.get("/health/live").status_code == 200
        answered += 1
        time.sleep(0.01)

    assert answered > 0


def of_labels() -> Files:
    rows = [("a;b", 0), ("a", 0), ("", 1), ("b;c d", 2), ("c d", 1)]
    files = {f"pictures/{number:02d}.png": a_png(hue=rows[number % 5][1], seed=500 + number) for number in range(40)}
    table = "file,labels\n" + "".join(f"{name},{rows[number % 5][0]}\n" for number, name in enumerate(files))
    return files | {"labels.csv": table.encode()}


def of_numbers() -> Files:
    files = {f"{number:02d}.png": a_png(hue=number % 3, seed=700 + number) for number in range(30)}
    table = "file,value\n" + "".join(f"{name},{number / 7 - 3!r}\n" for number, name in enumerate(files))
    return files | {"labels.csv": table.encode()}


def of_groups() -> Files:
    files = {f"{number:02d}.png": a_png(hue=number % 2, seed=900 + number) for number in range(40)}
    table = "file;label;group\n" + "".join(
        f'{name};"{"yes, sir" if number % 2 else "no x"}";p{number // 4}\n' for number, name in enumerate(files)
    )
    return files | {"labels.csv": table.encode()}


def of_odd_names() -> Files:
    names = [
        " spaced .png",
        "a,b.png",
        'q"uote.png',
        "labels.csv/in.png",
        "ein Bla\u0308tt.png",
        "\u6a39.png",
        "\u200dzwj.png",
    ]
    names += ["..png", "no ending", "'=1+1.png", "#.png", "x;y|z.png"]
    files: Files = {}
    for hue, label in enumerate(("one; two|three", "#2 = \u6a39, \u201cx\u201d", "A", "a")):
        for number, name in enumerate(names):
            files[f"{label}/{name}"] = a_png(hue=hue % 3, seed=3000 + 100 * hue + number)
    return files


@pytest.mark.parametrize("made", [of_folders, of_labels, of_numbers, of_groups, of_odd_names])
def test_an_export_uploaded_again_is_the_same_dataset(service: Service, tmp_path: Path, made: Any) -> None:
    dataset = created(service, made(), name="exported")
    archive = service.http.get(f"{dataset}:export")
    with running(samples.quick_settings(tmp_path / "home")) as other:
        again = upload(other, archive.content)

        first, second = service.http.get(dataset).json(), again.json()
        assert again.status_code == 201, again.text
        for fact in ("digest", "target", "classes", "counts", "splits", "values", "images", "grouped", "size_bytes"):
            assert second[fact] == first[fact], fact
        theirs = other.http.get(f"/datasets/{second['id']}/images", params={"limit": 100}).json()["items"]
        assert sorted(told(each) for each in theirs) == sorted(told(each) for each in images(service, dataset))
        refound = upload(service, archive.content)
        assert (refound.status_code, refound.json()["id"]) == (200, first["id"])


def told(image: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(image[name]) for name in ("sha256", "split", "label", "labels", "value", "group"))


def test_an_export_keeps_the_paths_of_images(service: Service, dataset: str, folders: Files) -> None:
    answer = service.http.get(f"{dataset}:export")

    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0] == "labels.csv"
        rows = list(csv.DictReader(io.StringIO(archive.read("labels.csv").decode())))
        assert {row["file"]: archive.read(row["file"]) for row in rows} == folders
    assert all(row["file"].startswith(f"{row['split']}/{row['label']}/") for row in rows)
    assert answer.headers["content-type"] == "application/zip"
    assert answer.content == service.http.get(f"{dataset}:export").content


@pytest.mark.parametrize(
    ("name", "disposition"),
    [
        ("plain name", 'attachment; filename="plain name.zip"'),
        ('a/b\\c"d', "attachment; filename=\"a_b_c_d.zip\"; filename*=UTF-8''a_b_c%22d.zip"),
        ("B\u00e4ume \u6a39", "attachment; filename=\"B_ume _.zip\"; filename*=UTF-8''B%C3%A4ume%20%E6%A8%B9.zip"),
        ("100%; x=1", "attachment; filename=\"100_; x=1.zip\"; filename*=UTF-8''100%25%3B%20x%3D1.zip"),
    ],
)
def test_an_exports_file_is_called_as_the_dataset(service: Service, dataset: str, name: str, disposition: str) -> None:
    service.http.patch(dataset, json={"name": name}).raise_for_status()

    assert service.http.head(f"{dataset}:export").headers["content-disposition"] == disposition
