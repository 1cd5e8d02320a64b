"""Every bad spec gets 422 with a pointer to what is wrong and what is allowed there, and queues nothing."""

from typing import Any

import pytest

from tests.service.live_service import Service, problem_of


def the(kind: str, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, **fields}


def case(pointer: str, allowed: Any, /, **changes: Any) -> Any:
    name = f"{pointer}-{changes}".replace("/", ".").replace(" ", "")[1:90]
    return pytest.param(pointer, allowed, changes, id=name)


SHARE = {"minimum": 0, "maximum": 1}
BEFORE_ONE = {"minimum": 0, "exclusiveMaximum": 1}
RATE = {"exclusiveMinimum": 0, "maximum": 10}

CASES = [
    # the whole
    case("/name", {"pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"}, name="no/slash"),
    case("/dataset", {"pattern": r"^ds_[0-9a-z]{8,40}$"}, dataset="cats"),
    case("/seed", {"minimum": 0, "maximum": 2**32 - 1}, seed=-1),
    case("/seed", {"minimum": 0, "maximum": 2**32 - 1}, seed=2**32),
    case("/seed", {"type": "integer"}, seed=1.5),
    case("/seed", {"type": "integer"}, seed="0"),
    case("/task", ["image_classification", "multilabel_classification", "image_regression"], task="detection"),
    case("/task", ["image_classification"], task="image_regression"),
    case("/epochs", ["training"], epochs=3),
    case("/augmentation", {"type": "array", "maxItems": 32}, augmentation={"kind": "random_flip"}),
    case("/augmentation", {"maxItems": 32}, augmentation=[the("random_flip")] * 33),
    case("/regularizers", {"maxItems": 16}, regularizers=[the("l1")] * 17),
    # what the net sees
    case("/input/size", {"minimum": 16, "maximum": 1024}, input={"size": 8}),
    case("/input/size", {"minimum": 16, "maximum": 1024}, input={"size": 4096}),
    case("/input/size", {"type": "integer"}, input={"size": "224"}),
    case("/input/channels", [1, 3, 4], input={"channels": 2}),
    case("/input/fit", ["crop", "stretch"], input={"fit": "pad"}),
    # the net
    case("/backbone/kind", ["resnet18", "small_cnn"], backbone=the("resnet19")),
    case("/backbone/kind", ["resnet18", "small_cnn"], backbone={}),
    case("/backbone/weights", {"maxLength": 130}, backbone=the("resnet18", weights="https://example.org/x.pth")),
    case("/backbone/weights", {"maxLength": 130}, backbone=the("small_cnn", weights="imagenet")),
    case("/backbone/freeze", {"maxLength": 60}, backbone=the("resnet18", freeze="half")),
    case("/backbone/freeze", ["until:stem", "until:layer4"], backbone=the("resnet18", freeze="until:layer9")),
    case("/backbone/freeze", ["none"], backbone=the("resnet18", weights=None, freeze="backbone")),
    case("/backbone/widths", {"minItems": 1, "maxItems": 6}, backbone=the("small_cnn", widths=[])),
    case("/backbone/widths/1", {"minimum": 1, "maximum": 2048}, backbone=the("small_cnn", widths=[8, 0])),
    case("/backbone/depth", {"minimum": 1, "maximum": 8}, backbone=the("small_cnn", depth=9)),
    case("/backbone/activation", ["relu", "gelu"], backbone=the("small_cnn", activation="swish")),
    case("/input/size", {"minimum": 64}, backbone=the("small_cnn", widths=[8] * 6), input={"size": 32}),
    case("/input/size", {"multipleOf": 16}, backbone=the("vit_b_16"), input={"size": 200}),
    case("/head/hidden_sizes/0", {"minimum": 1, "maximum": 16_384}, head={"hidden_sizes": [0]}),
    case("/head/dropout", BEFORE_ONE, head={"dropout": 1}),
    # transfer and distillation
    case("/transfer/layer_decay", {"exclusiveMinimum": 0, "maximum": 1}, transfer={"layer_decay": 0}),
    case("/transfer/head_lr_scale", {"minimum": 0.01, "maximum": 1000}, transfer={"head_lr_scale": 0}),
    case("/transfer/probe_epochs", {"minimum": 0, "maximum": 10_000}, transfer={"probe_epochs": -1}),
    case("/distillation/teacher", {"maxLength": 130}, distillation={"teacher": "../secret"}),
    case("/distillation/temperature", {"minimum": 1, "maximum": 100}, distillation={"teacher": "t", "temperature": 0}),
    case("/distillation/weight", SHARE, distillation={"teacher": "t", "weight": 2}),
    # augmentation
    case("/augmentation/0/kind", ["random_rotation", "mixup"], augmentation=[the("random_rotate")]),
    case("/augmentation/0/scale", {"exclusiveMinimum": 0.05, "maximum": 1}, augmentation=[the("random_crop", scale=0)]),
    case("/augmentation/0/padding", {"minimum": 0, "maximum": 0.5}, augmentation=[the("random_crop", padding=1)]),
    case("/augmentation/0/scale", {"minItems": 2}, augmentation=[the("random_resized_crop", scale=[0.5])]),
    case("/augmentation/0/scale", {}, augmentation=[the("random_resized_crop", scale=[0.9, 0.1])]),
    case("/augmentation/0/degrees", {"minimum": 0, "maximum": 180}, augmentation=[the("random_rotation", degrees=181)]),
    case("/augmentation/0/fit", ["keep", "expand"], augmentation=[the("random_rotation", fit="crop")]),
    case(
        "/augmentation/1/direction",
        ["horizontal", "vertical"],
        augmentation=[the("mixup"), the("random_flip", direction="up")],
    ),
    case("/augmentation/0/x", SHARE, augmentation=[the("random_translation", x=1.5)]),
    case("/augmentation/0/minimum", {"maximum": 0.5}, augmentation=[the("random_scale", minimum=1, maximum=0.5)]),
    case("/augmentation/0/y", {"minimum": 0, "maximum": 60}, augmentation=[the("random_shear", y=90)]),
    case(
        "/augmentation/0/distortion",
        {"minimum": 0, "maximum": 0.65},
        augmentation=[the("random_perspective", distortion=1)],
    ),
    case("/augmentation/0/hue", {"minimum": 0, "maximum": 0.5}, augmentation=[the("color_jitter", hue=0.6)]),
    case("/augmentation/0/bits", {"minimum": 1, "maximum": 8}, augmentation=[the("random_posterize", bits=9)]),
    case("/augmentation/0/threshold", SHARE, augmentation=[the("random_solarize", threshold=128)]),
    case("/augmentation/0/sigma", {}, augmentation=[the("gaussian_blur", sigma=[2, 1])]),
    case("/augmentation/0/size", {"exclusiveMinimum": 0, "maximum": 1}, augmentation=[the("cutout", size=16)]),
    case("/augmentation/0/alpha", {"exclusiveMinimum": 0, "maximum": 10}, augmentation=[the("mixup", alpha=0)]),
    case("/augmentation/0/probability", SHARE, augmentation=[the("cutmix", probability=1.01)]),
    case("/augmentation/0/magnitude", {"minimum": 0, "maximum": 30}, augmentation=[the("rand_augment", magnitude=31)]),
    case("/augmentation/0/severity", {"minimum": 1, "maximum": 10}, augmentation=[the("aug_mix", severity=0)]),
    case("/augmentation/0/magnitude", [], augmentation=[the("trivial_augment_wide", magnitude=3)]),
    # regularizers and losses
    case("/regularizers/0/strength", SHARE, regularizers=[the("l1", strength=-1)]),
    case("/regularizers/0/l1_ratio", SHARE, regularizers=[the("elastic", l1_ratio=2)]),
    case("/regularizers/0/probability", BEFORE_ONE, regularizers=[the("dropout", probability=1)]),
    case("/regularizers/0/limit", {"exclusiveMinimum": 0}, regularizers=[the("max_norm", limit=0)]),
    case("/regularizers/0/decay", {"exclusiveMaximum": 1}, regularizers=[the("ema", decay=1)]),
    case("/regularizers/0/rho", {"exclusiveMinimum": 0}, regularizers=[the("sam", rho=0)]),
    case("/regularizers/0", None, regularizers=[the("drop_path")], backbone=the("vgg11")),
    case("/loss/kind", ["cross_entropy", "mse"], loss=the("hinge")),
    case("/loss/kind", ["cross_entropy"], loss=the("mse"), task="image_classification"),
    case("/loss/label_smoothing", BEFORE_ONE, loss=the("cross_entropy", label_smoothing=1)),
    case("/loss/gamma", {"minimum": 0, "maximum": 10}, loss=the("focal", gamma=-0.5)),
    case("/loss/class_weights", ["blue", "green", "red"], loss=the("cross_entropy", class_weights={"purple": 2})),
    # optimizers, schedules, training
    case("/optimizer/kind", ["sgd", "schedule_free_adamw"], optimizer=the("adamw2")),
    case("/optimizer/lr", RATE, optimizer=the("sgd", lr=0)),
    case("/optimizer/lr", RATE, optimizer=the("lion", lr=11)),
    case("/optimizer/momentum", BEFORE_ONE, optimizer=the("muon", momentum=1)),
    case("/optimizer/beta2", BEFORE_ONE, optimizer=the("radam", beta2=1)),
    case("/optimizer/momentum", ["beta1", "lr"], optimizer=the("adamw", momentum=0.9)),
    case("/schedule/warmup_epochs", {"minimum": 0, "maximum": 1000}, schedule=the("cosine", warmup_epochs=-1)),
    case("/schedule/cycles", {"minimum": 1, "maximum": 100}, schedule=the("cosine", cycles=0)),
    case("/schedule/milestones", [5, 9], schedule=the("multistep", milestones=[9, 5])),
    case(
        "/schedule/rise_share", {"exclusiveMinimum": 0, "exclusiveMaximum": 1}, schedule=the("one_cycle", rise_share=1)
    ),
    case("/schedule/gamma", {"exclusiveMinimum": 0, "maximum": 1}, schedule=the("reduce_on_plateau", gamma=2)),
    case("/training/epochs", {"minimum": 1, "maximum": 10_000}, training={"epochs": 0}),
    case("/training/batch_size", {}, training={"batch_size": "large"}),
    case(
        "/training/batch_size",
        {"anyOf": [{"minimum": 1, "maximum": 65_536, "type": "integer"}, ["auto", "full"]]},
        training={"batch_size": 0},
    ),
    case("/loss/class_weights/red", {"exclusiveMinimum": 0}, loss=the("cross_entropy", class_weights={"red": 0})),
    case("/training/accumulate_steps", {"minimum": 1, "maximum": 1024}, training={"accumulate_steps": 0}),
    case("/training/clip_grad_norm", {"exclusiveMinimum": 0}, training={"clip_grad_norm": 0}),
    case("/training/precision", ["auto", "fp32", "bf16", "fp16"], training={"precision": "fp8"}),
    case(
        "/training/monitor",
        ["val_accuracy", "val_balanced_accuracy", "val_balanced_loss", "val_loss"],
        training={"monitor": "accuracy"},
    ),
    case("/training/early_stopping/patience", {"minimum": 1}, training={"early_stopping": {"patience": 0}}),
    # evaluation, validation, search
    case("/evaluation/bootstrap_samples", {"minimum": 100}, evaluation={"bootstrap_samples": 10}),
    case("/validation/folds", {"minimum": 2, "maximum": 20}, validation=the("k_fold", folds=1)),
    case("/validation/folds", {"minimum": 2, "maximum": 10}, validation=the("k_fold", folds=20)),
    case("/validation/group", [False], validation=the("k_fold", group=True)),
    case("/validation/seeds", {"minimum": 2, "maximum": 100}, validation=the("repeats", seeds=1)),
    case("/search/kind", ["grid", "tpe"], search=the("bayes", space={"seed": {"choice": [0, 1]}})),
    case("/search/space", {}, search=the("random", space={})),
    case(
        "/search/trials",
        {"minimum": 2, "maximum": 1000},
        search=the("tpe", trials=1, space={"seed": {"choice": [0, 1]}}),
    ),
    case("/search/space/optimizer.lr", {}, search=the("random", space={"optimizer.lr": {"log_uniform": [1, 0.1]}})),
    case("/search/space/optimizer.lr", {}, search=the("random", space={"optimizer.lr": {}})),
    case(
        "/search/space/optimizer.lr/uniform/1",
        RATE,
        search=the("random", space={"optimizer.lr": {"uniform": [0.1, 20]}}),
    ),
    case("/search/space/optimizer.rate", ["lr"], search=the("random", space={"optimizer.rate": {"uniform": [0.1, 1]}})),
    case("/search/space/name", ["optimizer"], search=the("random", space={"name": {"choice": ["a", "b"]}})),
    case(
        "/search/space/optimizer.lr/log_unifrm",
        ["log_uniform"],
        search=the("random", space={"optimizer.lr": {"log_unifrm": [1, 2]}}),
    ),
    case(
        "/search/space/optimizer.lr/log_uniform",
        {"minItems": 2},
        search=the("random", space={"optimizer.lr": {"log_uniform": [1]}}),
    ),
    case("/optimizer", ["sgd", "adamw"], optimizer="sgd"),
    case("/backbone", ["resnet18"], backbone="resnet18"),
    case("/augmentation/0", ["random_flip"], augmentation=["random_flip"]),
    case("/training", ["epochs"], training=5),
    # compression and export
    case("/compression/max_accuracy_drop", SHARE, compression={"max_accuracy_drop": 1.5}),
    case("/compression/prune/ratio", {"exclusiveMaximum": 1}, compression={"prune": the("structured", ratio=1)}),
    case("/compression/prune/ratio", [None], compression={"prune": the("structured", ratio=0.5, target_speedup=2.0)}),
    case("/compression/prune/n", {"minimum": 1, "maximum": 3}, compression={"prune": the("n_m", n=4, m=4)}),
    case("/compression/control", [False], compression={"control": True}),
    case(
        "/compression/quantize/0/calibration_images",
        {"minimum": 1},
        compression={"quantize": [the("static_int8", calibration_images=0)]},
    ),
    case("/compression/quantize/1/kind", ["bf16"], compression={"quantize": [the("fp16"), the("fp16")]}),
    case("/export/opset", {"minimum": 18, "maximum": 22}, export={"opset": 11}),
]


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    return str(service.upload()["id"])


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize(("pointer", "allowed", "changes"), CASES)
def test_a_bad_spec_is_told_where_it_is_wrong_and_what_is_allowed(
    service: Service, dataset: str, pointer: str, allowed: Any, changes: dict[str, Any]
) -> None:
    answer = service.http.post("/train", json={"name": "flowers", "dataset": dataset} | changes)

    fault = problem_of(answer, 422, "invalid_body")["errors"][0]
    assert fault["pointer"] == pointer, fault
    assert fault["message"]
    told = fault.get("allowed")
    if isinstance(allowed, dict):
        assert allowed.items() <= (told or {}).items(), fault
    elif allowed is not None:
        assert set(map(str, allowed)) <= set(map(str, told)), fault
    assert service.http.get("/jobs").json()["items"] == []
