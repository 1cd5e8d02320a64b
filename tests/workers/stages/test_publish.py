from pathlib import Path

import pytest

from workers.stages.context import Variant
from workers.stages.publish import variant_card


@pytest.mark.parametrize(("kind", "depends"), [("dynamic_int8", True), ("static_int8", False)])
def test_the_card_says_whether_an_answer_depends_on_its_batch(kind: str, *, depends: bool, tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    path.write_bytes(b"weights")

    card = variant_card("pruned-int8", Variant(path, parent="pruned", made_by={"kind": kind}))

    assert card["batch_dependent"] is depends
