"""Line 2: channels pruned, recovered by distillation, then int8; and a speedup that is asked for is what comes."""

from typing import Any

from benchmarks import jobs
from benchmarks.compression_lines.setup import Setup, Shown

EPOCHS = 5
SHRINK: dict[str, Any] = {
    "prune": {"kind": "structured", "ratio": 0.4},
    "recover": {"epochs": EPOCHS, "lr_scale": 0.5, "distillation": {}},
    "control": True,
    "quantize": [{"kind": "static_int8"}],
}
WANTED = 3.0


def show(setup: Setup) -> Shown:
    """Return pruned and int8 beside the control, and what `target_speedup: 3` has come to."""
    recover = SHRINK["recover"] | ({"epochs": 1} if setup.quick else {})
    gate = {"max_accuracy_drop": 1.0} if setup.quick else {}  # after an epoch on few images, accuracy is chance
    made = jobs.compress(setup.clothes, setup.resnet, SHRINK | {"recover": recover} | gate)
    jobs.show(made, "cifar_resnet18 on Fashion-MNIST: pruned, distilled, int8")
    shown = Shown()
    for variant in ("fp32", "control", "pruned"):
        shown.figures[f"resnet18: {variant}, test accuracy"] = made.on_cpu(variant)["accuracy"]["test"]
    lost = made.on_cpu("control")["accuracy"]["test"] - made.on_cpu("pruned-int8")["accuracy"]["test"]
    shown.at_least("resnet18: pruned-int8, times faster", made.on_cpu("pruned-int8")["speedup"], goal=6.0)
    shown.at_most("resnet18: pruned-int8, points lost on test to the control", 100 * lost, goal=1.0)

    wanted: dict[str, Any] = {
        "prune": {"kind": "structured", "target_speedup": WANTED},
        "recover": None,
        "quantize": [],
    }
    found = jobs.compress(setup.clothes, setup.resnet, wanted)
    jobs.show(found, f"target_speedup: {WANTED:g}, without a recovery")
    speedup = found.on_cpu("pruned")["speedup"]
    shown.figures[f"resnet18: target_speedup {WANTED:g}, measured"] = speedup
    shown.at_most(f"resnet18: target_speedup {WANTED:g}, % off", 100 * abs(speedup / WANTED - 1), goal=10.0)
    return shown
