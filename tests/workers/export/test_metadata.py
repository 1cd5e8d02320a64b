import json
from pathlib import Path

import numpy as np
import onnx

from tests.workers.colour_nets import CARD, LABELS, leaves
from workers.export import metadata
from workers.export.sessions import open_session

METRICS = {"cpu": {"accuracy": {"val": 0.9, "test": 0.8}}}


def stamped(exported: Path, folder: Path) -> Path:
    path = folder / "stamped.onnx"
    path.write_bytes(exported.read_bytes())
    metadata.stamp(path, variant="int8", metrics=METRICS)
    return path


def test_a_stamped_file_says_what_was_measured_on_it_beside_what_it_said_before(exported: Path, tmp_path: Path) -> None:
    session = open_session(stamped(exported, tmp_path), device="cpu", threads=1)

    said = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}

    assert said == {
        "espalier.labels": LABELS,
        "espalier.card": CARD | {"form": "int8"},
        "espalier.metrics": METRICS,
    }


def test_a_stamp_leaves_the_graph_and_its_answers_as_they_were(exported: Path, tmp_path: Path) -> None:
    path = stamped(exported, tmp_path)

    graphs = [onnx.load(each).graph.SerializeToString(deterministic=True) for each in (exported, path)]
    answers = [
        open_session(each, device="cpu", threads=1).run(None, {"images": leaves().images_NHWC})[0]
        for each in (exported, path)
    ]

    assert graphs[0] == graphs[1]
    np.testing.assert_array_equal(*answers)


def test_a_second_stamp_takes_the_place_of_the_first(exported: Path, tmp_path: Path) -> None:
    path = stamped(exported, tmp_path)

    metadata.stamp(path, variant="int8", metrics={"cpu": {}})

    said = onnx.load(path).metadata_props
    assert sorted(entry.key for entry in said) == ["espalier.card", "espalier.labels", "espalier.metrics"]
    assert metadata.read(onnx.load(path))["espalier.metrics"] == {"cpu": {}}
