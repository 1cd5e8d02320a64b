import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from models_store.jobs import housekeeping, submissions
from models_store.jobs import store as jobs
from models_store.models import safetensors_header, weights
from models_store.models.safetensors_header import NotSafetensors
from models_store.models.weights import WeightsFile, WeightsInUse, WeightsNotFound
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from tests.samples import a_train_spec, insert_dataset

OWNER = "ada"
FOUR_FLOATS = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


def a_file(folder: Path, *, seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray[Any, Any]] = {
        "w": random.random((2, 3), dtype=np.float32),
        "n": np.zeros((), np.int64),
        "e": np.zeros((0, 3)),
    }
    save_file(tensors, folder / "weights.safetensors", metadata={"format": "pt"})
    return folder / "weights.safetensors"


def file_of(folder: Path, header: Any, content: bytes = bytes(16)) -> Path:
    """Write a header, given as bytes or as a document, and the tensors' bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "given"
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    return path


def added(folder: Path, database: Database, blobs: Blobs, *, seed: int = 0) -> WeightsFile:
    return weights.add(a_file(folder, seed=seed), owner=OWNER, name="mine", database=database, blobs=blobs)[0]


def test_a_header_tells_tensors_parameters_and_types(tmp_path: Path) -> None:
    contents = safetensors_header.inspect(a_file(tmp_path))

    assert contents.as_card() == {"tensors": 3, "parameters": 7, "dtypes": {"F32": 1, "F64": 1, "I64": 1}}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        pytest.param({"w": FOUR_FLOATS | {"data_offsets": [0, 12]}}, "does not fill its 12 bytes", id="too short"),
        pytest.param({"w": FOUR_FLOATS | {"data_offsets": [4, 20]}}, "hole or an overlap", id="hole at the start"),
        pytest.param({"w": FOUR_FLOATS | {"data_offsets": [16, 0]}}, "does not fill", id="backwards"),
        pytest.param({"w": FOUR_FLOATS | {"shape": [2]}}, "does not fill", id="wrong shape"),
        pytest.param({"w": FOUR_FLOATS | {"shape": [-4]}}, "no shape", id="negative"),
        pytest.param({"w": FOUR_FLOATS | {"shape": [True, 4]}}, "no shape", id="no number"),
        pytest.param({"w": FOUR_FLOATS | {"shape": [4.0]}}, "no shape", id="no whole number"),
        pytest.param({"w": FOUR_FLOATS | {"shape": [1] * 17}}, "no shape", id="too many dimensions"),
        pytest.param({"w": FOUR_FLOATS | {"shape": [2**60, 2**60, 0]}}, "no shape", id="enormous"),
        pytest.param({"w": FOUR_FLOATS | {"dtype": "F31"}}, "dtype 'F31'", id="unknown type"),
        pytest.param({"w": FOUR_FLOATS | {"more": 1}}, "no dtype, shape and data_offsets", id="more keys"),
        pytest.param({"w": 1}, "no dtype, shape and data_offsets", id="no object"),
        pytest.param({"v": FOUR_FLOATS, "w": FOUR_FLOATS}, "hole or an overlap", id="overlap"),
        pytest.param({"__metadata__": {"a": 1}, "w": FOUR_FLOATS}, "texts to texts", id="bad metadata"),
        pytest.param({}, "no tensor", id="no tensor"),
        pytest.param([], "no object", id="list"),
        pytest.param(b"{", "not the JSON", id="broken JSON"),
        pytest.param(b'{"w": 1, "w": 2}', "is given twice", id="a key twice"),
        pytest.param(b'{"w": NaN}', "NaN is not JSON", id="NaN"),
        pytest.param(b"\xff\xfe", "not the JSON", id="no UTF-8"),
        pytest.param(json.dumps({"w": FOUR_FLOATS}).encode("utf-8-sig"), "not the JSON", id="byte order mark"),
        pytest.param(json.dumps({"w": FOUR_FLOATS}).encode("utf-16"), "not the JSON", id="UTF-16"),
        pytest.param(json.dumps({"w": FOUR_FLOATS}).encode("utf-16-le"), "not the JSON", id="UTF-16 without mark"),
        pytest.param({"\ud800": FOUR_FLOATS}, "not the JSON", id="half a character"),
        pytest.param({"__metadata__": {"a": "\udfff"}, "w": FOUR_FLOATS}, "not the JSON", id="half a one as metadata"),
        pytest.param(b" " + json.dumps({"w": FOUR_FLOATS}).encode(), "from its first byte", id="space before it"),
        pytest.param(b"[" * 100_000, "not the JSON", id="nested too deep"),
        pytest.param(b"1" * 10_000, "not the JSON", id="a number without end"),
    ],
)
def test_a_header_that_breaks_the_format_is_refused(tmp_path: Path, header: Any, said: str) -> None:
    with pytest.raises(NotSafetensors, match=said):
        safetensors_header.inspect(file_of(tmp_path, header))


@pytest.mark.parametrize("content", [b"", b"1234567", struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 3) + b"{}"])
def test_a_file_that_is_shorter_than_it_claims_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "given").write_bytes(content)

    with pytest.raises(NotSafetensors):
        safetensors_header.inspect(tmp_path / "given")


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = a_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(NotSafetensors, match="damaged or cut off"):
        safetensors_header.inspect(path)


@given(noise=st.binary(max_size=60), length=st.integers(0, 70))
def test_random_bytes_are_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, length: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise"
    path.write_bytes(struct.pack("<Q", length) + noise)

    with pytest.raises(NotSafetensors):
        safetensors_header.inspect(path)


def test_a_file_is_found_listed_and_named_as_a_blob(tmp_path: Path, database: Database, blobs: Blobs) -> None:
    first, second = added(tmp_path, database, blobs), added(tmp_path, database, blobs, seed=1)

    assert weights.find(database, first.id, owner=OWNER) == first
    assert weights.listing(database, owner=OWNER, limit=1) == ([second], second.id)
    assert weights.listing(database, owner=OWNER, cursor=second.id) == ([first], None)
    assert {first.blob, second.blob} <= housekeeping.named_blobs(database)
    assert blobs.exists(first.blob)


def test_the_same_bytes_again_are_the_earlier_file(tmp_path: Path, database: Database, blobs: Blobs) -> None:
    first = added(tmp_path, database, blobs)

    again, created = weights.add(a_file(tmp_path), owner=OWNER, name="again", database=database, blobs=blobs)

    assert (again, created) == (first, False)


def test_another_owners_file_is_not_there(tmp_path: Path, database: Database, blobs: Blobs) -> None:
    file = added(tmp_path, database, blobs)

    with pytest.raises(WeightsNotFound):
        weights.find(database, file.id, owner="eve")
    with pytest.raises(WeightsNotFound):
        weights.remove(database, file.id, owner="eve")


def test_a_file_that_a_job_needs_stays_until_the_job_has_ended(
    tmp_path: Path, database: Database, blobs: Blobs, settings: Settings
) -> None:
    insert_dataset(database, owner=OWNER)
    file = added(tmp_path, database, blobs)
    spec = a_train_spec(backbone={"kind": "small_cnn", "weights": file.id})
    job, _ = submissions.submit(database, owner=OWNER, spec=spec, settings=settings)

    with pytest.raises(WeightsInUse, match=job.id):
        weights.remove(database, file.id, owner=OWNER)
    jobs.cancel(database, job.id, owner=OWNER)
    weights.remove(database, file.id, owner=OWNER)

    with pytest.raises(WeightsNotFound):
        weights.find(database, file.id, owner=OWNER)


def test_a_file_that_was_removed_after_it_was_looked_up_stops_the_job_from_being_queued(
    tmp_path: Path, database: Database, blobs: Blobs, settings: Settings
) -> None:
    insert_dataset(database, owner=OWNER)
    file = added(tmp_path, database, blobs)
    spec = a_train_spec(backbone={"kind": "small_cnn", "weights": file.id})
    weights.remove(database, file.id, owner=OWNER)

    with pytest.raises(WeightsNotFound, match=file.id):
        submissions.submit(database, owner=OWNER, spec=spec, settings=settings)

    assert jobs.listing(database, owner=OWNER) == ([], None)
