"""Line 4: one scale per tensor ruins a net; training with rounding wins accuracy back, and a mixed variant passes."""

from typing import Any

from benchmarks import jobs, sensitive
from benchmarks.compression_lines.setup import Setup, Shown
from workers.tasks.image import net as task
from workers.training.learner import save

RUINOUS = 3.0  # octaves: most answers are lost
HARMFUL = (2.25, 2.375, 2.5, 2.625)  # the first is taken that costs static int8 more than the gate allows
GATE = 0.015
SMALL: dict[str, Any] = {
    "input": {"size": 28, "channels": 1},
    "backbone": {"kind": "small_cnn", "widths": [32, 64, 128], "depth": 2},
    "augmentation": [{"kind": "random_flip"}],
    "regularizers": [],
    "optimizer": {"kind": "adamw", "lr": 3e-3},
    "schedule": {"kind": "one_cycle"},
    "training": {"epochs": 4, "batch_size": 128, "monitor": "val_accuracy"},
    "compression": None,
}


def show(setup: Setup) -> Shown:
    """Return what static int8 per tensor loses, what of that training wins back, and the mixed variant at its gate."""
    quickly = {"training": {"epochs": 1, "batch_size": 128}} if setup.quick else {}
    print("training small_cnn", flush=True)
    trained = jobs.train(setup.clothes, SMALL | quickly)
    shown = Shown()
    _win_back(setup, trained, shown)
    _pass_the_gate(setup, trained, shown)
    return shown


def _win_back(setup: Setup, trained: jobs.Made, shown: Shown) -> None:
    learned = {"kind": "qat_int8", "per_channel": False, "epochs": 1 if setup.quick else 3}
    made = jobs.compress(
        setup.clothes,
        trained,
        {"quantize": [{"kind": "static_int8", "per_channel": False}, learned]},
        weights=_spread(setup, trained, octaves=RUINOUS),
    )
    jobs.show(made, f"small_cnn, channels spread by {RUINOUS:g} octaves: one scale per tensor")
    accuracy = {variant: made.on_cpu(variant)["accuracy"]["test"] for variant in ("fp32", "int8", "qat-int8")}
    lost, left = (100 * (accuracy["fp32"] - accuracy[variant]) for variant in ("int8", "qat-int8"))
    shown.figures |= {"sensitive: static int8, points lost on test": lost, "sensitive: QAT, points lost on test": left}
    shown.at_least("sensitive: share of the loss that QAT wins back", (lost - left) / lost if lost else 0.0, goal=0.5)


def _pass_the_gate(setup: Setup, trained: jobs.Made, shown: Shown) -> None:
    mixed = {"kind": "mixed_int8", "per_channel": False, "max_float_share": 0.6}
    asked = {"quantize": [{"kind": "static_int8", "per_channel": False}, mixed], "max_accuracy_drop": GATE}
    for octaves in HARMFUL:
        made = jobs.compress(setup.clothes, trained, asked, weights=_spread(setup, trained, octaves=octaves))
        jobs.show(made, f"small_cnn, channels spread by {octaves:g} octaves: a gate of {100 * GATE:g} points")
        lost = {variant: 100 * made.on_cpu(variant)["accuracy_drop"] for variant in ("int8", "mixed-int8")}
        if lost["int8"] > 100 * GATE:
            break
    shown.at_least("sensitive: static int8, points lost at the gate", lost["int8"], goal=100 * GATE)
    shown.at_most("sensitive: mixed-int8, points lost at the gate", lost["mixed-int8"], goal=100 * GATE)
    shown.at_least("sensitive: mixed-int8, times faster", made.on_cpu("mixed-int8")["speedup"], goal=1.0)


def _spread(setup: Setup, trained: jobs.Made, *, octaves: float) -> str:
    """Return the weights (a blob) of the same function with its channels spread over many sizes."""
    path = setup.home.blobs.local(trained.result["weights_blob"])
    net = task.restore(trained.spec, path, class_count=len(setup.clothes.dataset.card["classes"]))
    spread = sensitive.spread_channels(net, octaves=octaves)
    return setup.home.blobs.put(save(spread, setup.folder / "spread.safetensors")).sha256
