"""Line 1: static int8 of a real EfficientNet-Lite0 is twice as fast, a quarter of the size, and right as often."""

from benchmarks import jobs
from benchmarks.compression_lines.setup import Setup, Shown


def show(setup: Setup) -> Shown:
    """Return int8 beside fp32: one image at a time, on one thread."""
    made = jobs.compress(setup.photographs, setup.lite0, {"quantize": [{"kind": "static_int8"}]})
    jobs.show(made, "efficientnet_lite0: static int8")
    shown = Shown()
    shown.figures["lite0: fp32, test accuracy"] = made.on_cpu("fp32")["accuracy"]["test"]
    shown.at_least("lite0: int8, times faster", made.on_cpu("int8")["speedup"], goal=2.0)
    lost = made.on_cpu("fp32")["accuracy"]["test"] - made.on_cpu("int8")["accuracy"]["test"]
    shown.at_most("lite0: int8, points lost on test", 100 * lost, goal=1.0)
    smaller = made.cards["fp32"]["size_bytes"] / made.cards["int8"]["size_bytes"]
    shown.at_least("lite0: int8, times smaller", smaller, goal=3.4)
    return shown
