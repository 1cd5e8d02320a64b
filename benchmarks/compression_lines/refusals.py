"""Line 3: what is said to compress and does not is measured, refused with the reason, and never served by default."""

from benchmarks import jobs
from benchmarks.compression_lines.setup import Setup, Shown

ANY_DROP = 1.0  # so that speed alone decides
SLOWER = {"dynamic-int8": "dynamic int8", "fp16": "fp16", "pruned": "pruned, unaligned"}


def show(setup: Setup) -> Shown:
    """Return three variants that are slower than fp32, and a gate that nothing may pass."""
    slow = jobs.compress(
        setup.photographs,
        setup.lite0,
        {
            "prune": {"kind": "structured", "ratio": 0.1, "round_to": 1},
            "recover": None,
            "quantize": [{"kind": "dynamic_int8", "layers": "all"}, {"kind": "fp16"}],
            "max_accuracy_drop": ANY_DROP,
        },
    )
    jobs.show(slow, "efficientnet_lite0: three ways to be slower on a CPU, any accuracy allowed")
    shown = Shown()
    for variant, name in SLOWER.items():
        shown.at_most(f"lite0: {name}, times faster", slow.on_cpu(variant)["speedup"], goal=1.0)
    refused = sum(not slow.on_cpu(variant)["accepted"] for variant in SLOWER)
    shown.at_least("lite0: of these three, refused", refused, goal=len(SLOWER))
    shown.at_least("lite0: fp32 published and served all the same", slow.default == "fp32", goal=1)

    strict = {"prune": {"kind": "structured", "ratio": 0.4}, "recover": None, "max_accuracy_drop": 0.0}
    rolled_back = jobs.compress(setup.clothes, setup.resnet, strict)
    jobs.show(rolled_back, "cifar_resnet18: a gate of 0 points, a cut without recovery")
    shown.at_least("resnet18: gate of 0, the cut refused", not rolled_back.on_cpu("pruned")["accepted"], goal=1)
    made_of_it = sum(card["parent"] == "pruned" for card in rolled_back.cards.values())
    shown.at_most("resnet18: gate of 0, variants made of the cut", made_of_it, goal=0)
    lost = rolled_back.on_cpu(rolled_back.default)["accuracy_drop"]
    shown.at_most("resnet18: gate of 0, points that the default loses", 100 * lost, goal=0.0)
    return shown
