"""Line 6: what can't be done is said in a sentence, and the net that it was asked of stays as it was."""

from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from benchmarks import jobs
from benchmarks.compression_lines.setup import Setup, Shown
from models_store.errors import EspalierError
from models_store.spec.pruning import StructuredPruning
from workers.compression.prune import prune

UNREACHABLE = 100.0


def show(setup: Setup) -> Shown:
    """Print what each piece of bad input is answered, and count them; a fault that nobody foresaw ends the line."""
    trained = setup.resnet
    before = trained.path("fp32").read_bytes(), trained.blobs.local(trained.result["weights_blob"]).read_bytes()
    cases = {
        "a ratio of 1": lambda: _refused(setup, {"prune": {"kind": "structured", "ratio": 1.0}}),
        "a ratio of 1.5": lambda: _refused(setup, {"prune": {"kind": "unstructured_l1", "ratio": 1.5}}),
        "no calibration images": lambda: _refused(
            setup, {"quantize": [{"kind": "static_int8", "calibration_images": 0}]}
        ),
        f"target_speedup {UNREACHABLE:g}": lambda: _unreachable(setup),
        "weights that are not finite": lambda: _not_finite(setup),
        "a net without convolutions": _without_convolutions,
    }
    answered = {}
    for name, tried in cases.items():
        answered[name] = tried()
        print(f"{name}: {answered[name] or 'NOTHING WAS SAID'}", flush=True)
    after = trained.path("fp32").read_bytes(), trained.blobs.local(trained.result["weights_blob"]).read_bytes()
    shown = Shown()
    shown.at_least("bad input: answered what is wrong", sum(map(bool, answered.values())), goal=len(cases))
    shown.at_least("bad input: the trained net is as it was", before == after, goal=1)
    return shown


def _refused(setup: Setup, compression: jobs.Document) -> str:
    """Return what a spec is answered that is refused before any job starts."""
    try:
        jobs.spec_of(setup.clothes, {"compression": compression})
    except ValidationError as error:
        return "; ".join(f"{'/'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    return ""


def _unreachable(setup: Setup) -> str:
    """Return why a speedup could not be reached, and how far it went."""
    wanted: dict[str, Any] = {
        "prune": {"kind": "structured", "target_speedup": UNREACHABLE},
        "recover": None,
        "quantize": [],
    }
    made = jobs.compress(setup.clothes, setup.resnet, wanted)
    return made.not_made.get("pruned", "") if made.default == "fp32" else ""


def _not_finite(setup: Setup) -> str:
    """Return what a job is answered that takes up a net with a NaN in it."""
    trained = setup.resnet
    state = load_file(trained.blobs.local(trained.result["weights_blob"]))
    name = next(name for name, tensor in state.items() if tensor.is_floating_point() and tensor.ndim > 1)
    state[name].view(-1)[0] = torch.nan
    path = setup.folder / "damaged.safetensors"
    save_file(state, path)
    try:
        jobs.compress(setup.clothes, trained, {}, weights=setup.home.blobs.put(path).sha256)
    except jobs.JobFailed as failure:
        return "" if "Traceback" in str(failure) else str(failure)
    return ""


def _without_convolutions() -> str:
    """Return what becomes of pruning a net of one linear layer, the classes' own."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(28 * 28, 10))
    try:
        prune(net, StructuredPruning(), example=torch.zeros(1, 1, 28, 28))
    except EspalierError as error:
        return error.detail
    return ""
