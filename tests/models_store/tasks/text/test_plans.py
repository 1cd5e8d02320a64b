from typing import Any

import pytest

from models_store.spec.ladder import rungs
from models_store.tasks.text.contract import TEXT
from models_store.tasks.text.facts import TextFacts
from models_store.tasks.text.spec import ResolvedTextSpec, TextSpec

FACTS = TextFacts(8_000, {"bad": 4_000, "good": 4_000}, characters_95=210, words_95=205)


def resolved(**asked: Any) -> ResolvedTextSpec:
    document = {"task": "text_classification", "name": "reviews", "dataset": "ds_0123456789"} | asked
    spec, _ = TEXT.resolve(TextSpec.model_validate(document), FACTS)
    assert isinstance(spec, ResolvedTextSpec)
    return spec


def test_a_budget_is_kept_with_shorter_texts() -> None:
    spec = resolved(backbone={"kind": "lstm"})

    found = [each.spec for each in rungs(spec, FACTS)]

    assert "input.max_tokens" in spec.training.fit_to_budget
    lengths = [each.input.max_tokens for each in found]
    assert lengths == sorted(lengths, reverse=True)
    assert len(lengths) == 4
    costs = [each.costs.giga_macs for each in found]
    assert costs[-1] == pytest.approx(costs[0] * lengths[-1] / lengths[0])


def test_a_length_that_was_asked_for_stays() -> None:
    spec = resolved(backbone={"kind": "lstm"}, input={"max_tokens": 256})

    assert [each.spec.input.max_tokens for each in rungs(spec, FACTS)] == [256]


@pytest.mark.parametrize(
    ("backbone", "macs"),
    [
        ({"kind": "text_cnn", "embedding": 10, "kernels": [2, 3], "filters": 4}, 100 * 5 * 10 * 4),
        ({"kind": "rnn", "embedding": 10, "width": 4, "bidirectional": False}, 100 * 4 * 14),
        ({"kind": "gru", "embedding": 10, "width": 4, "layers": 2}, 100 * 2 * 3 * 4 * (14 + 12)),
        ({"kind": "lstm", "embedding": 10, "width": 4}, 100 * 2 * 4 * 4 * 14),
        ({"kind": "transformer", "embedding": 16, "ffn": 32}, 100 * 2 * (4 * 256 + 2 * 16 * 32 + 2 * 16 * 100)),
    ],
)
def test_a_net_costs_its_multiplications(backbone: dict[str, Any], macs: int) -> None:
    spec = resolved(backbone=backbone, input={"max_tokens": 100})

    assert spec.costs.giga_macs == pytest.approx(max(macs / 1e9, 1e-6))
