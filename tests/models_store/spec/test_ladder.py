"""What a trainer may fall back on to keep to its budget, and what it must leave as the user set it."""

import json
from typing import Any

import pytest

from models_store.spec.ladder import Rung, rungs
from models_store.spec.space import value_at
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ImageSpec, ResolvedImageSpec
from models_store.tasks.rooms import read_resolved
from tests.samples import DATASET_ID

ASKED: dict[str, Any] = {"name": "leaves", "dataset": DATASET_ID}
PHOTOGRAPHS = ImageFacts(3_000, {"ant": 1_500, "bee": 1_500}, median_side=200)
FEW = ImageFacts(240, {"ant": 120, "bee": 120}, median_side=200)
GREY = ImageFacts(4_708, {"normal": 1_214, "ill": 3_494}, median_side=28, grey=True)


def resolved(facts: ImageFacts = PHOTOGRAPHS, **asked: Any) -> ResolvedImageSpec:
    return IMAGE.resolve(ImageSpec.model_validate(ASKED | asked), facts)[0]


def plans(facts: ImageFacts = PHOTOGRAPHS, **asked: Any) -> list[Rung]:
    return rungs(resolved(facts, **asked), facts)


def told(ladder: list[Rung]) -> list[tuple[int | None, str | None]]:
    return [(rung.spec.input.size, rung.spec.backbone.freeze) for rung in ladder]


def test_the_first_plan_is_the_recipes_own_and_the_last_a_head_on_small_images() -> None:
    spec = resolved()
    ladder = rungs(spec, PHOTOGRAPHS)

    assert ladder[0].spec == spec
    assert told(ladder)[0] == (260, "until:stage3")
    assert told(ladder)[-3:] == [(260, "backbone"), (192, "backbone"), (128, "backbone")]
    assert (260, "until:stage5") in told(ladder)


def test_a_head_alone_is_trained_by_its_own_recipe() -> None:
    head = next(rung for rung in plans() if rung.spec.backbone.freeze == "backbone").spec

    assert head.augmentation == []
    assert head.transfer.probe_epochs == 0
    assert [part.kind for part in head.regularizers] == ["l2"]
    assert head.training.epochs == 50


def test_few_photographs_and_small_nets_keep_todays_plans() -> None:
    assert told(plans(FEW))[0] == (260, "backbone")
    assert told(plans(GREY)) == [(28, "none")]


def test_fewer_epochs_have_an_average_over_the_last_tenth_of_them() -> None:
    rung = plans(GREY)[0]

    shorter = rung.with_epochs(10, GREY)

    decays = [part.decay for spec in (rung.spec, shorter) for part in spec.regularizers if part.kind == "ema"]
    assert shorter.training.epochs == 10
    assert decays[1] < decays[0]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("input.size", {"input": {"size": 224}}),
        ("backbone.freeze", {"backbone": {"kind": "efficientnet_lite2", "freeze": "until:stage2"}}),
        ("training.epochs", {"training": {"epochs": 7}}),
        ("training.batch_size", {"training": {"batch_size": 8}}),
        ("augmentation", {"augmentation": [{"kind": "random_flip"}]}),
        ("regularizers", {"regularizers": [{"kind": "dropout"}]}),
        ("optimizer", {"optimizer": {"kind": "sgd", "lr": 0.1}}),
        ("loss", {"loss": {"kind": "focal"}}),
        ("schedule", {"schedule": {"kind": "constant"}}),
        ("transfer", {"transfer": {"probe_epochs": 2}}),
        ("seed", {"seed": 5}),
    ],
)
def test_what_the_user_set_is_the_same_in_every_plan(path: str, asked: dict[str, Any]) -> None:
    spec = resolved(**asked)

    ladder = rungs(spec, PHOTOGRAPHS)

    assert len(ladder) > 1
    assert {path} - set(spec.training.fit_to_budget) == {path}
    own = value_at(spec.model_dump(), path)
    assert all(value_at(rung.spec.model_dump(), path) == own for rung in ladder)


def test_with_epochs_set_no_plan_is_shorter() -> None:
    assert all(rung.least_epochs == 7 for rung in plans(training={"epochs": 7}))


@pytest.mark.parametrize(
    "asked",
    [
        {"training": {"budget_minutes": None}},
        {"training": {"fit_to_budget": []}},
        {
            "input": {"size": 224},
            "backbone": {"kind": "efficientnet_lite2", "freeze": "none"},
            "training": {"epochs": 3},
        },
    ],
)
def test_without_a_budget_or_anything_left_out_nothing_is_fitted(asked: dict[str, Any]) -> None:
    spec = resolved(**asked)

    ladder = rungs(spec, PHOTOGRAPHS)

    assert spec.training.fit_to_budget == []
    assert [rung.spec for rung in ladder] == [spec]
    assert ladder[0].least_epochs == spec.training.epochs


def test_a_user_may_allow_what_was_set_to_be_lowered() -> None:
    ladder = plans(training={"epochs": 40, "fit_to_budget": ["training.epochs"]})

    assert [rung.spec.training.epochs for rung in ladder] == [40]
    assert ladder[0].least_epochs < 40


@pytest.mark.parametrize(
    ("path", "values", "free"),
    [
        ("training.epochs", {"int_uniform": [2, 9]}, {"input.size", "backbone.freeze"}),
        ("input.size", {"choice": [192, 224]}, {"training.epochs", "regularizers", "backbone.freeze"}),
        ("optimizer.lr", {"log_uniform": [1e-4, 1e-2]}, {"training.epochs", "input.size", "backbone.freeze"}),
    ],
)
def test_what_a_search_varies_is_not_fitted(path: str, values: dict[str, Any], free: set[str]) -> None:
    fitted = set(resolved(search={"kind": "random", "trials": 3, "space": {path: values}}).training.fit_to_budget)

    assert free <= fitted
    assert not fitted & {path, path.partition(".")[0]}


def test_the_budget_itself_is_not_searched() -> None:
    space = {"training.budget_minutes": {"uniform": [1, 9]}}

    with pytest.raises(ValueError, match="one plan for all trials"):
        resolved(search={"kind": "random", "trials": 3, "space": space})


def test_a_longer_budget_plans_more_epochs() -> None:
    assert resolved(training={"budget_minutes": 60}).training.epochs > resolved().training.epochs


def test_a_resolved_spec_that_is_posted_again_means_the_same() -> None:
    spec = resolved()

    again, _ = IMAGE.resolve(ImageSpec.model_validate(json.loads(spec.model_dump_json())), PHOTOGRAPHS)

    assert again == spec


def test_a_spec_from_before_budgets_is_trained_as_it_was_resolved() -> None:
    document = resolved().model_dump(mode="json")
    for name in ("budget_minutes", "fit_to_budget"):
        del document["training"][name]

    spec = read_resolved(document)

    assert spec.training.fit_to_budget == []
    assert [rung.spec for rung in rungs(spec, PHOTOGRAPHS)] == [spec]


@pytest.mark.parametrize("size", [96, 260])
@pytest.mark.parametrize("kind", ["vit", "resnet18", "mobilenet_v2"])
def test_every_plan_of_other_backbones_is_a_valid_spec(kind: str, size: int) -> None:
    backbone = {"kind": "timm:vit_tiny_patch16_224" if kind == "vit" else kind}
    facts = ImageFacts(3_000, {"ant": 1_500, "bee": 1_500}, median_side=size)

    for rung in plans(facts, backbone=backbone):
        assert ResolvedImageSpec.model_validate(rung.spec.model_dump(), context=facts) == rung.spec
        assert 1 <= rung.least_epochs <= rung.spec.training.epochs
