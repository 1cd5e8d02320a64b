"""What a report says of the variants: a table and a picture per provider, and the reasons of the refused."""

import io
import itertools
import json
import re
from xml.etree import ElementTree as ET
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from tests.workers.evaluation.sample_reports import a_report
from tests.workers.evaluation.variant_cards import CARDS, DEFAULTS, NOT_MADE, a_card, figures
from workers.evaluation import variants
from workers.evaluation.pictures.labels import Box, Disc, place
from workers.evaluation.pictures.variants import Point, front, pareto

AREA = Box(0, 0, 700, 500)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    path = tmp_path_factory.mktemp("report") / "report.zip"
    a_report(path, count=30)
    return ZipFile(path)


@pytest.fixture(scope="module")
def page(written: ZipFile) -> str:
    return written.read("report.html").decode()


def row_of(page: str, variant: str, *, provider: str = "cpu") -> str:
    part = page[page.index(f"<h3>{provider}</h3>") :]
    found = re.search(rf"<tr><td>{variant}</td>.*?</tr>", part)
    assert found is not None
    return found[0]


def test_a_picture_is_drawn_of_each_provider_as_svg_and_as_png(written: ZipFile) -> None:
    names = {name for name in written.namelist() if "forms-" in name}

    assert names == {f"pictures/forms-{provider}.{kind}" for provider in DEFAULTS for kind in ("svg", "png")}
    for provider in DEFAULTS:
        image = Image.open(io.BytesIO(written.read(f"pictures/forms-{provider}.png")))
        assert image.getextrema() != ((253, 253), (253, 253), (254, 254), (255, 255))


def test_the_picture_names_every_variant_that_ran_there_once(written: ZipFile) -> None:
    for provider, expected in (("cpu", set(CARDS)), ("cuda", {"fp32"})):
        document = ET.fromstring(written.read(f"pictures/forms-{provider}.svg"))  # noqa: S314  our own file
        texts = ["".join(node.itertext()) for node in document.iter("{http://www.w3.org/2000/svg}text")]

        assert sorted(text.partition(",")[0] for text in texts if re.search(r", \d.* [KM]B$", text)) == sorted(expected)


def test_the_report_has_every_variants_card_the_defaults_and_what_could_not_be_made(written: ZipFile) -> None:
    document = json.loads(written.read("report.json"))

    assert document["forms"] == json.loads(json.dumps(CARDS))
    assert (document["defaults"], document["not_made"]) == (DEFAULTS, NOT_MADE)


@pytest.mark.parametrize(
    ("variant", "provider", "expected"),
    [
        ("int8", "cpu", ["default", "2.11 <small>[2.00, 2.21]", "5.2 MB", "4.7 MB", "91.0 MB"]),
        ("int8", "cpu", ["0.0000 <small>[-0.0100, 0.0100]", "1.25 <small>[1.20, 1.30]", "526"]),
        ("int8", "cuda", ["can&#x27;t run here", "no kernel for &lt;DequantizeLinear&gt;"]),
        ("fp32", "cuda", ["default"]),
        ("mixed-int8", "cpu", ["accepted"]),
        ("pruned", "cpu", ["refused", "loses 0.0500 of accuracy on the validation split"]),
        ("sparse", "cpu", ["refused, size only", "is not faster than fp32: 0.98 times its speed"]),
    ],
)  # fmt: skip
def test_the_table_tells_figures_and_verdicts(page: str, variant: str, provider: str, expected: list[str]) -> None:
    row = row_of(page, variant, provider=provider)

    for words in expected:
        assert words in row


def test_a_reason_is_told_once(page: str) -> None:
    assert page.count("loses 0.0500 of accuracy on the validation split") == 1


def test_all_rows_of_a_table_have_its_columns(page: str) -> None:
    part = page[page.index("<h3>cpu</h3>") : page.index("<h3>How they were made</h3>")]
    counts = {len(re.findall(r"<t[dh][ >]", row)) for row in re.findall(r"<tr>.*?</tr>", part)}

    assert counts == {len(variants.COLUMNS)}


@pytest.mark.parametrize(
    "words",
    [
        "macs 400 → 100 (-75%)",
        "probes ratio 0.25, speedup 1.61; ratio 0.4, speedup 2.03",
        "float layers stem, head.1",
        "kind static_int8<br>per channel yes</td><td>layers 3</td>",
        "0.9000 against 0.9510 on val, 0.8900 against 0.9410 on test",
        "AMD EPYC 9B14 (avx2, avx512_vnni), onnxruntime 1.31.1, CPUExecutionProvider, 1 thread",
        "the net&#x27;s weights are not finite",
    ],
)
def test_the_page_tells_how_variants_were_made_and_where_they_were_measured(page: str, words: str) -> None:
    assert words in page


def test_a_version_without_a_test_split_is_drawn_by_validation() -> None:
    untested = figures(0.9, 3.0)
    del untested["accuracy"]["test"]

    svg, _ = variants.pictures(
        {"fp32": a_card("fp32", {"cpu": untested}, size_bytes=10)}, defaults={"cpu": "fp32"}, metric="R²"
    )

    assert "R² on the validation split" in svg.content.decode()


def test_the_front_is_what_nothing_beats_in_both() -> None:
    random = np.random.default_rng(0)
    points = [a_point(accuracy, latency) for accuracy, latency in random.random((40, 2))]

    kept = front(points)

    for point in points:
        beaten = any(other.accuracy > point.accuracy and other.latency_ms < point.latency_ms for other in points)
        assert (point in kept) == (not beaten)


def test_equals_in_accuracy_leave_the_fastest_on_the_front() -> None:
    slow, fast = a_point(0.9, 2.0), a_point(0.9, 1.0)

    assert front([slow, fast]) == [fast]


def test_names_never_overlap_however_near_their_points_are() -> None:
    random = np.random.default_rng(1)
    crowd = [Disc(350 + x, 250 + y, 15) for x, y in random.normal(scale=10, size=(26, 2))]

    boxes = place(crowd, [(130, 12)] * len(crowd), area=AREA)

    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(0 <= box.left <= 570 and 0 <= box.bottom <= 488 for box in boxes)
    assert all(box.distance(disc) > 0 for box in boxes for disc in crowd)


def test_a_name_alone_stands_beside_its_point() -> None:
    (box,) = place([Disc(300, 200, 10)], [(80, 12)], area=AREA)

    assert 0 < box.distance(Disc(300, 200, 10)) < 6


def test_an_area_too_small_for_all_names_still_has_them_all() -> None:
    boxes = place([Disc(5, 5, 4)] * 5, [(30, 10)] * 5, area=Box(0, 0, 40, 20))

    assert len(boxes) == 5


@pytest.mark.parametrize("slowest", [2.0, 80.0])
def test_points_all_alike_and_points_far_apart_are_drawn(slowest: float) -> None:
    points = [a_point(0.5, 2.0), a_point(0.5, slowest), a_point(float("nan"), 1.0)]

    svg, png = pareto(points, provider="cpu", split="test")

    assert ("logarithmic" in svg.content.decode()) == (slowest > 8)
    assert Image.open(io.BytesIO(png.content)).format == "PNG"


def test_nothing_measured_is_no_picture() -> None:
    unmeasurable = {"fp32": a_card("fp32", {"cpu": {"unmeasurable": "out of memory"}}, size_bytes=1)}

    assert variants.pictures(unmeasurable, defaults={}, metric="accuracy") == []
    assert "out of memory" in variants.section({"forms": unmeasurable, "defaults": {}, "not_made": {}}, {})


def a_point(accuracy: float, latency_ms: float) -> Point:
    return Point("form", accuracy, latency_ms, 10**6, "accepted")
