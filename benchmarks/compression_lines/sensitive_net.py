"""Line 4: one scale per tensor ruins a net; training with rounding wins accuracy back, and a mixed form passes."""

from benchmarks import jobs, sensitive
from benchmarks.compression_lines.setup import Setup, Shown
from workers.image import task

OCTAVES = 3.0
GATE = 0.02
SMALL = {
    "input": {"size": 28, "channels": 1},
    "backbone": {"kind": "small_cnn", "widths": [32, 64, 128], "depth": 2},
    "augmentation": [{"kind": "random_flip"}],
    "regularizers": [],
    "optimizer": {"kind": "adamw", "lr": 3e-3},
    "schedule": {"kind": "one_cycle"},
    "training": {"epochs": 4, "batch_size": 128, "monitor": "val_accuracy"},
    "compression": None,
}
PER_TENSOR = {"per_channel": False}


def show(setup: Setup) -> Shown:
    """Return what static int8 per tensor loses, what is left of that after training, and the mixed form at its gate."""
    quickly = {"training": SMALL["training"] | {"epochs": 1}} if setup.quick else {}  # type: ignore[operator]  # a dict
    print("training small_cnn", flush=True)
    trained = jobs.train(setup.clothes, SMALL | quickly)
    made = jobs.compress(
        setup.clothes,
        trained,
        {
            "quantize": [
                {"kind": "static_int8", **PER_TENSOR},
                {"kind": "mixed_int8", **PER_TENSOR},
                {"kind": "qat_int8", **PER_TENSOR, "epochs": 1 if setup.quick else 3},
            ],
            "max_accuracy_drop": GATE,
        },
        weights=_spread(setup, trained),
    )
    jobs.show(made, "small_cnn, channels of many sizes: one scale per tensor")
    accuracy = {form: made.on_cpu(form)["accuracy"]["test"] for form in ("fp32", "int8", "qat-int8")}
    lost, left = (100 * (accuracy["fp32"] - accuracy[form]) for form in ("int8", "qat-int8"))
    shown = Shown({"sensitive: static int8, points lost on test": lost, "sensitive: QAT, points lost on test": left})
    shown.at_least("sensitive: share of the loss that QAT wins back", (lost - left) / lost if lost else 0.0, goal=0.5)
    for form, verdict in (("int8", "fails"), ("mixed-int8", "passes")):
        dropped = 100 * made.on_cpu(form)["accuracy_drop"]
        figure = f"sensitive: {form}, points lost on validation ({verdict} {100 * GATE:g})"
        (shown.at_least if form == "int8" else shown.at_most)(figure, dropped, goal=100 * GATE)
    return shown


def _spread(setup: Setup, trained: jobs.Made) -> str:
    """Return the weights (a blob) of the same function with its channels spread over many sizes."""
    path = setup.home.blobs.local(trained.result["weights_blob"])
    net = task.restore(trained.spec, path, class_count=len(setup.clothes.dataset.card["classes"]))
    spread = sensitive.spread_channels(net, octaves=OCTAVES)
    return setup.home.blobs.put(task.save(spread, setup.folder / "spread.safetensors")).sha256
