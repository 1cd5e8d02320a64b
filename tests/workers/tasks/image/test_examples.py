import io
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models_store.datasets.store import ManifestEntry
from models_store.tasks.image import codec
from models_store.tasks.image.input import Input
from tests.models_store.tasks.image.image_files import encoded
from tests.samples import a_png
from workers.tasks.image import examples
from workers.training.examples import Examples

CLASSES = ["blue", "red"]
INPUT = Input(size=24)
IMAGES = 70


@pytest.fixture
def images_zip(tmp_path: Path) -> Path:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(IMAGES):
            archive.writestr(f"{number}.png", a_png(hue=number % 2, seed=number))
    return path


def a_manifest() -> list[ManifestEntry]:
    return [
        ManifestEntry(
            file=f"{CLASSES[number % 2]}/{number}.png",
            member=f"{number}.png",
            label=CLASSES[number % 2],
            split="val" if number % 5 == 0 else "train",
            sha256=f"{number:064x}",
            facts={"width": 40, "height": 32},
        )
        for number in range(IMAGES)
    ]


def prepare(
    images_zip: Path,
    *,
    manifest: Sequence[ManifestEntry] | None = None,
    classes: list[str] = CLASSES,
    spec_input: Input = INPUT,
    cache_max_bytes: int = 1 << 30,
    report: Callable[[float], None] = lambda _: None,
) -> Examples:
    return examples.prepare(
        a_manifest() if manifest is None else manifest,
        images_zip,
        classes=classes,
        digest="d" * 8,
        spec_input=spec_input,
        cache=images_zip.parent / "cache",
        cache_max_bytes=cache_max_bytes,
        max_pixels=64_000_000,
        report=report,
    )


def the_file(images_zip: Path) -> Path:
    (path,) = (images_zip.parent / "cache").iterdir()
    return path


def test_every_row_is_what_serving_would_see_of_the_same_file(images_zip: Path) -> None:
    arrays = prepare(images_zip)

    with zipfile.ZipFile(images_zip) as archive:
        expected = [codec.decode(archive.read(entry.member), size=24, channels=3, fit="crop") for entry in a_manifest()]
    assert np.array_equal(arrays.inputs["images"], np.stack(expected))
    assert arrays.targets.tolist() == [number % 2 for number in range(IMAGES)]
    assert arrays.split("val").tolist() == list(range(0, IMAGES, 5))
    assert arrays.batch(np.array([3, 5]))["images"].shape == (2, 24, 24, 3)


def test_a_second_run_reads_the_file_and_decodes_nothing(images_zip: Path) -> None:
    first = prepare(images_zip)
    images_zip.unlink()

    second = prepare(images_zip)

    assert np.array_equal(first.inputs["images"], second.inputs["images"])


def test_another_size_or_fit_is_another_file(images_zip: Path) -> None:
    for spec_input in (INPUT, Input(size=16), Input(size=24, channels=1), Input(size=24, fit="stretch")):
        prepare(images_zip, spec_input=spec_input)

    assert len(list((images_zip.parent / "cache").iterdir())) == 4


def test_another_white_level_is_another_file_with_other_pixels(tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(IMAGES):
            values = np.full((30, 30), 58 * number, np.uint16)  # of 12 bits
            archive.writestr(f"{number}.png", encoded(Image.fromarray(values), "PNG"))

    dark = np.array(prepare(path).inputs["images"])
    light = np.array(prepare(path, spec_input=Input(size=24, white_level=4095)).inputs["images"])

    assert (int(dark.max()), int(light.max())) == (15, 249)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def turn_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, turn_a_bit, empty])
def test_a_damaged_file_is_noticed_and_made_anew(images_zip: Path, damage: Callable[[Path], None]) -> None:
    whole = np.array(prepare(images_zip).inputs["images"])
    damage(the_file(images_zip))

    again = prepare(images_zip)

    assert np.array_equal(again.inputs["images"], whole)


def test_a_file_that_can_not_be_decoded_stops_it_and_leaves_nothing(images_zip: Path) -> None:
    with zipfile.ZipFile(images_zip, "w") as archive:
        for number in range(IMAGES):
            archive.writestr(f"{number}.png", a_png(seed=number) if number != 50 else b"no image")

    with pytest.raises(codec.UndecodableImage):
        prepare(images_zip)

    assert list((images_zip.parent / "cache").iterdir()) == []


def test_what_a_killed_process_left_is_swept(images_zip: Path) -> None:
    cache = images_zip.parent / "cache"
    cache.mkdir()
    (cache / "something.partial").write_bytes(b"half")

    prepare(images_zip)

    assert the_file(images_zip).suffix == ".npy"


def test_a_full_cache_loses_what_nobody_uses_and_keeps_what_somebody_does(images_zip: Path) -> None:
    sizes = [INPUT.model_copy(update={"size": size}) for size in (16, 24, 32)]
    unused = prepare(images_zip, spec_input=sizes[0])
    assert unused.held is not None
    unused.held.close()
    used = prepare(images_zip, spec_input=sizes[1])

    newest = prepare(images_zip, spec_input=sizes[2], cache_max_bytes=1)

    kept = {path.name for path in (images_zip.parent / "cache").glob("*.npy")}
    assert kept == {Path(str(arrays.inputs["images"].filename)).name for arrays in (used, newest)}


def test_progress_rises_to_one(images_zip: Path) -> None:
    shares: list[float] = []

    prepare(images_zip, report=shares.append)

    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def _prepared_sum(path: str) -> int:
    return int(prepare(Path(path)).inputs["images"].astype(np.int64).sum())


@pytest.mark.slow
def test_processes_may_prepare_the_same_images_at_once(images_zip: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("forkserver")) as pool:
        sums = list(pool.map(_prepared_sum, [str(images_zip)] * 3))

    assert len(set(sums)) == 1
    assert the_file(images_zip).suffix == ".npy"


def test_photographs_in_other_modes_become_rgb(tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    buffer = io.BytesIO()
    Image.new("L", (40, 40), 77).save(buffer, "JPEG")
    entry = a_manifest()[0]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry.member, buffer.getvalue())

    arrays = examples.prepare(
        [entry],
        path,
        classes=CLASSES,
        digest="e",
        spec_input=INPUT,
        cache=tmp_path / "cache",
        cache_max_bytes=1 << 30,
        max_pixels=64_000_000,
        report=lambda _: None,
    )

    assert arrays.inputs["images"][0, 5, 5].tolist() == [77, 77, 77]


def test_rows_may_have_labels_or_a_number(images_zip: Path) -> None:
    manifest = a_manifest()
    labelled = [
        replace(entry, label="", labels=(entry.label,) if place % 3 else ()) for place, entry in enumerate(manifest)
    ]
    valued = [replace(entry, label="", value=place / 4) for place, entry in enumerate(manifest)]

    of_labels = prepare(images_zip, manifest=labelled)
    of_numbers = prepare(images_zip, manifest=valued, classes=[])

    assert (of_labels.targets.dtype, of_labels.targets[:4].tolist()) == (np.float32, [[0, 0], [0, 1], [1, 0], [0, 0]])
    assert (of_numbers.targets.dtype, of_numbers.targets[:3].tolist()) == (np.float32, [[0], [0.25], [0.5]])
