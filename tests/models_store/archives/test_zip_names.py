"""Names of zips from systems that write their own code page, and from those that say what they write."""

import io
import struct
import zipfile
import zlib
from typing import Any

import pytest

from models_store.archives.rules import MemberNameRefused
from tests.models_store.datasets.dataset_stores import Files, Store, a_zip, checks, class_files
from tests.samples import a_png


class Raw(zipfile.ZipInfo):
    """An entry whose name is bytes without the mark of UTF-8."""

    raw: bytes

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802  zipfile's own name
        return self.raw, self.flag_bits & ~0x800


def a_foreign_zip(names: list[str], encoding: str, *, with_unicode_path: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for place, name in enumerate(names):
            raw = name.encode(encoding)
            entry = Raw(f"{place}")
            entry.raw = raw
            if with_unicode_path:
                field = b"\x01" + struct.pack("<I", zlib.crc32(raw)) + name.encode()
                entry.extra = struct.pack("<HH", 0x7075, len(field)) + field
            archive.writestr(entry, a_png(hue=place % 3, seed=place))
    return buffer.getvalue()


def in_folders(*classes: str, count: int = 10) -> list[str]:
    return [f"{name}/{index}.png" for name in classes for index in range(count)]


LANGUAGES = [
    ("gbk", ["向日葵", "玫瑰", "郁金香", "蒲公英"]),
    ("big5", ["向日葵", "玫瑰", "鬱金香", "蒲公英"]),
    ("cp932", ["ひまわり", "薔薇", "チューリップ", "表"]),
    ("cp949", ["해바라기", "장미", "튤립"]),
    ("cp1251", ["подсолнух", "роза", "тюльпан"]),
    ("cp866", ["подсолнух", "роза", "тюльпан"]),
    ("cp1252", ["Löwenzahn", "Gänseblümchen", "Schlüsselblume"]),
    ("cp850", ["Löwenzahn", "Gänseblümchen", "Schlüsselblume"]),
]


@pytest.mark.parametrize(("encoding", "classes"), LANGUAGES)
def test_the_code_page_is_guessed_from_all_names_and_the_report_says_so(
    encoding: str, classes: list[str], store: Store
) -> None:
    dataset = store.ingest(a_foreign_zip(in_folders(*classes), encoding))

    assert dataset.card["classes"] == sorted(classes)
    found = checks(dataset)["names_guessed"]
    assert found["severity"] == "warning"
    assert "names=" in found["message"]


@pytest.mark.parametrize(("encoding", "classes"), LANGUAGES)
def test_a_given_encoding_is_taken_without_a_guess(encoding: str, classes: list[str], store: Store) -> None:
    given = "shift_jis" if encoding == "cp932" else encoding

    dataset = store.ingest(a_foreign_zip(in_folders(*classes), encoding), names=given)

    assert dataset.card["classes"] == sorted(classes)
    assert "names_guessed" not in checks(dataset)


def test_the_unicode_path_field_comes_before_the_bytes(store: Store) -> None:
    names = in_folders("猫", "狗")

    dataset = store.ingest(a_foreign_zip(names, "gbk", with_unicode_path=True), names="cp1252")

    assert dataset.card["classes"] == sorted(["猫", "狗"])


def test_a_unicode_path_field_of_another_name_is_not_believed(store: Store) -> None:
    honest = a_foreign_zip(in_folders("猫", "狗"), "gbk", with_unicode_path=True)
    checksum = struct.pack("<I", zlib.crc32("猫/0.png".encode("gbk")))

    dataset = store.ingest(honest.replace(checksum, b"\0\0\0\0"), names="gbk")

    assert dataset.card["classes"] == sorted(["猫", "狗"])


def test_unmarked_utf8_is_no_guess(store: Store) -> None:
    dataset = store.ingest(a_foreign_zip(in_folders("猫", "狗"), "utf-8"))

    assert dataset.card["classes"] == sorted(["猫", "狗"])
    assert "names_guessed" not in checks(dataset)


def test_a_byte_of_a_letter_is_no_backslash(store: Store) -> None:
    dataset = store.ingest(a_foreign_zip(in_folders("表", "ソース"), "cp932"), names="shift_jis")

    assert dataset.card["classes"] == sorted(["表", "ソース"])


def test_names_that_are_not_in_the_given_encoding_are_refused(store: Store) -> None:
    with pytest.raises(MemberNameRefused, match="not utf-8"):
        store.ingest(a_foreign_zip(in_folders("猫", "狗"), "gbk"), names="utf-8")


def test_backslashes_between_folders_are_separators(store: Store) -> None:
    files = {name.replace("/", "\\"): content for name, content in class_files("oak", "elm", top="train/").items()}

    dataset = store.ingest(a_zip({"train\\": b"", "train\\oak\\": b""} | files))

    assert dataset.card["classes"] == ["elm", "oak"]


@pytest.mark.parametrize("name", ["..\\up.png", "a\\..\\..\\up.png", "\\etc\\x.png", "C:\\x.png", "a/..\\..\\x.png"])
def test_the_rules_hold_for_names_with_backslashes(name: str, store: Store) -> None:
    with pytest.raises(MemberNameRefused):
        store.ingest(class_files("oak", "elm") | {name: a_png()})


@pytest.mark.parametrize("pair", [("N:A", "N:B"), ("0: cat", "1: dog")])
def test_a_colon_is_no_absolute_path(pair: tuple[str, str], store: Store) -> None:
    assert store.ingest(class_files(*pair)).card["classes"] == list(pair)


def test_names_that_differ_by_case_are_two(store: Store) -> None:
    files: Files = class_files("a", "A") | {"a/IMG_1.jpg": a_png(seed=501), "a/IMG_1.JPG": a_png(seed=502)}

    dataset = store.ingest(files)

    assert (dataset.card["classes"], dataset.card["images"]) == (["A", "a"], 22)
    assert checks(dataset)["class_names_collide"]["severity"] == "warning"


def test_one_name_in_two_unicode_forms_is_refused(store: Store) -> None:
    files: dict[str, Any] = {"e\u0301/1.png": a_png(), "\u00e9/1.png": a_png(seed=1)}

    with pytest.raises(Exception, match="Unicode forms"):
        store.ingest(class_files("oak", "elm") | files)
