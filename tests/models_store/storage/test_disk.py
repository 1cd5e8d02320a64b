"""A full disk is known for what it is, whichever library ran into it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psycopg
import pysqlite3
import pytest
import sqlalchemy
from PIL import Image

from models_store.errors import Invalid, StorageFull
from models_store.storage import disk, scratch
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from tests.small_disks import SmallDisk, small_disk

MEBIBYTE = 1 << 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small", size_mb=2) as mounted:
        yield mounted


def write_plainly(folder: Path) -> None:
    (folder / "file").write_bytes(bytes(3 * MEBIBYTE))


def save_with_torch(folder: Path) -> None:
    import torch  # noqa: PLC0415  seconds that the other cases are spared

    torch.save({"weights": torch.zeros(3 * MEBIBYTE, dtype=torch.uint8)}, folder / "checkpoint.pt")


def save_safetensors(folder: Path) -> None:
    from safetensors.numpy import save_file  # noqa: PLC0415  as above

    save_file({"weights": np.zeros(3 * MEBIBYTE, np.uint8)}, folder / "weights.safetensors")


def save_with_onnx(folder: Path) -> None:
    import onnx  # noqa: PLC0415  as above

    weights = onnx.numpy_helper.from_array(np.random.default_rng(0).random((1024, 1024), np.float32), "w")
    graph = onnx.helper.make_graph([], "graph", [], [], [weights])
    onnx.save(onnx.helper.make_model(graph), str(folder / "model.onnx"))


def save_with_numpy(folder: Path) -> None:
    np.save(folder / "array.npy", np.zeros(3 * MEBIBYTE, np.uint8))


def save_a_picture(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1200, 1200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "picture.png")


def write_to_sqlite(folder: Path) -> None:
    connection = pysqlite3.connect(folder / "store.db", isolation_level=None)
    try:
        connection.execute("CREATE TABLE rows (content)")
        for _ in range(40):
            connection.execute("INSERT INTO rows VALUES (randomblob(100000))")
    finally:
        connection.close()


def write_through_sqlalchemy(folder: Path) -> None:
    database = Database(f"sqlite:///{folder / 'store.db'}")
    try:
        with database.write() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE rows (content)"))
            connection.execute(sqlalchemy.text("INSERT INTO rows VALUES (randomblob(3000000))"))
    finally:
        database.close()


def put_a_blob(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.write_bytes(bytes(3 * MEBIBYTE))
    Blobs(str(folder / "blobs"), scratch=folder.parent).put(outside)


@pytest.mark.parametrize(
    "write",
    [
        write_plainly,
        save_with_torch,
        save_safetensors,
        save_with_onnx,
        save_with_numpy,
        save_a_picture,
        write_to_sqlite,
        write_through_sqlalchemy,
        put_a_blob,
    ],
)
def test_a_full_disk_is_told_from_every_other_failure(small: SmallDisk, write: Callable[[Path], None]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  each library has its own
        write(small.folder)

    assert disk.is_full(caught.value)


def test_a_full_disk_of_a_postgresql_server_is_known_in_any_language() -> None:
    refused = psycopg.errors.DiskFull("die Festplatte ist voll")

    with pytest.raises(sqlalchemy.exc.OperationalError) as caught:
        raise sqlalchemy.exc.OperationalError("INSERT", {}, refused) from refused

    assert disk.is_full(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file or directory"),
        PermissionError(13, "Permission denied"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        Invalid("`No space left on device.png` is not an image"),
    ],
)
def test_another_failure_is_not_taken_for_a_full_disk(error: Exception) -> None:
    assert not disk.is_full(error)


def test_what_came_from_a_full_disk_is_known_by_its_cause(small: SmallDisk) -> None:
    def fail() -> None:
        try:
            write_plainly(small.folder)
        except OSError as error:
            raise RuntimeError("the library could not do it") from error

    with (
        pytest.raises(StorageFull, match="no room left on the disk for the weights"),
        disk.reported_full("the weights"),
    ):
        fail()


def test_room_is_found_by_writing(small: SmallDisk) -> None:
    before = disk.has_room(small.folder)
    small.fill(but_bytes=8192)
    filled = disk.has_room(small.folder)
    small.free()

    assert (before, filled, disk.has_room(small.folder)) == (True, False, True)
    assert small.files == []


def test_a_line_that_cannot_be_written_is_lost_and_nothing_else() -> None:
    program = (
        "import sys; from models_store.storage import disk\n"
        "sys.stdout = disk.Unfailing(sys.stdout)\n"
        "print('a line', flush=True); print('another'); sys.stdout.flush()\n"
        "import os; os._exit(7)"
    )
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123  a device
        ended = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, check=False)

    assert (ended.returncode, ended.stderr) == (7, b"")


def test_the_services_log_on_a_full_disk_changes_nothing() -> None:
    program = (
        "import structlog; from models_store.settings import Settings; from service import logs\n"
        "logs.configure(Settings())\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError: structlog.get_logger().exception('unforeseen error', path='/train')\n"
        "structlog.get_logger('x').info('client left')\n"
        "print('answered')"
    )
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123  a device
        ended = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=full, check=False)

    assert (ended.returncode, ended.stdout) == (0, b"answered\n")


def test_bytecode_that_an_earlier_release_kept_is_removed(tmp_path: Path) -> None:
    kept = tmp_path / "bytecode" / "torch" / "__init__.cpython-311.pyc"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"half a file")
    (tmp_path / "cache").mkdir()

    scratch.sweep(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
