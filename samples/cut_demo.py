"""Cut samples/demo.zip out of the Fashion-MNIST archive: the first images of each class, the same bytes each time.

Run as `python samples/cut_demo.py`; `--check` only compares what it would write with what is there.
"""
# ruff: noqa: INP001  scripts, each run by its path; there is no package here

import argparse
import io
import sys
import zipfile
from collections import defaultdict
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SOURCE = FOLDER / "fashion-mnist" / "fashion_mnist_5k.zip"
TARGET = FOLDER / "demo.zip"

# split of the demo → (folder of the source, first image, images of each class)
CUTS = {"train": ("train", 0, 120), "val": ("train", 120, 40), "test": ("test", 0, 40)}
STAMP = (2020, 1, 1, 0, 0, 0)


def cut(source: Path) -> bytes:
    """Return the demo's archive: `split/class/name.png`, stored in name order."""
    archive = io.BytesIO()
    with zipfile.ZipFile(source) as given, zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as taken:
        by_folder: dict[tuple[str, str], list[str]] = defaultdict(list)
        for name in sorted(given.namelist()):
            _, split, label, _ = name.split("/")
            by_folder[split, label].append(name)
        for split, (folder, first, count) in CUTS.items():
            for label in sorted(label for part, label in by_folder if part == folder):
                for name in by_folder[folder, label][first : first + count]:
                    entry = zipfile.ZipInfo(f"{split}/{label}/{Path(name).name}", STAMP)
                    entry.external_attr = 0o644 << 16
                    taken.writestr(entry, given.read(name))
    return archive.getvalue()


def main() -> int:
    """Write the archive, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 when demo.zip is not what would be written")
    fresh = cut(SOURCE)
    if parser.parse_args().check:
        return 0 if TARGET.read_bytes() == fresh else 1
    TARGET.write_bytes(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
