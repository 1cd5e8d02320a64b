import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from models_store.models import safetensors_header
from models_store.models.safetensors_header import NotSafetensors
from models_store.models.weights_forms import VectorsInvalid, WeightsArchiveInvalid, as_safetensors

VECTORS = "3 2\ngood 1.5 -2\n房间 0 1e-1\na b 3 4\n"


def stored(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(content)
    as_safetensors(path, most_bytes=1 << 20)
    return path


def a_zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_vectors_in_text_become_a_matrix_and_its_words(tmp_path: Path) -> None:
    path = stored(tmp_path, VECTORS.encode())

    tensors = load_file(path)
    assert tensors["vectors"].tolist() == [[1.5, -2.0], [0.0, np.float32(0.1)], [3.0, 4.0]]
    assert tensors["vocabulary"].tobytes().decode().split("\n") == ["good", "房间", "a b"]
    assert safetensors_header.inspect(path).tensors == 2
    assert [each.name for each in tmp_path.iterdir()] == ["upload"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (VECTORS.replace("1.5 -2", "1.5"), "line 2 is not a word and 2 finite numbers"),
        (VECTORS.replace("1.5", "x"), "line 2 is no word in UTF-8 with 2 numbers"),
        (VECTORS.replace("1.5", "nan"), "line 2 is not a word and 2 finite numbers"),
        (VECTORS.replace("3 2", "4 2"), "announces 4 vectors, and 3 follow"),
        (VECTORS.replace("3 2", "2 2"), "announces 2 vectors, and 3 follow"),
    ],
)
def test_vectors_that_break_their_form_are_refused_with_the_line(content: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(VectorsInvalid, match=said):
        stored(tmp_path, content.encode())


def test_words_that_are_not_utf8_are_refused_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(VectorsInvalid, match="line 3"):
        stored(tmp_path, "2 2\na 1 2\n房 1 2\n".encode("gb18030"))


def test_an_archive_becomes_its_tensors_with_the_files_beside_them(tmp_path: Path) -> None:
    weight = np.arange(6, dtype=np.float16).reshape(3, 2)
    files = {"m/model.safetensors": save({"embedding": weight}), "m/vocab.json": json.dumps(["好", "坏"]).encode()}

    tensors = load_file(stored(tmp_path, a_zip(files)))

    assert np.array_equal(tensors["embedding"], weight)
    assert json.loads(tensors["vocab.json"].tobytes()) == ["好", "坏"]


@pytest.mark.parametrize(
    ("names", "said"), [(["a.json"], "no safetensors file"), (["a.safetensors", "b.safetensors"], "more than one")]
)
def test_an_archive_has_one_safetensors_file(names: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsArchiveInvalid, match=said):
        stored(tmp_path, a_zip(dict.fromkeys(names, save({"a": np.zeros(2, np.float32)}))))


def test_a_damaged_file_in_an_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotSafetensors):
        stored(tmp_path, a_zip({"a.safetensors": b"x" * 100}))


@pytest.mark.parametrize("content", [save({"a": np.zeros(2, np.float32)}), b"", b"nothing of the kind", b"12 apples\n"])
def test_other_bytes_stay_as_they_are(content: bytes, tmp_path: Path) -> None:
    assert stored(tmp_path, content).read_bytes() == content
