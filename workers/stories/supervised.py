"""The story of one job, top to bottom.

data → train → prune, recover → export → quantize → verify → evaluate → measure → publish. It reads an assignment, works
in its staging folder, puts finished files among the blobs, and tells its supervisor what to publish. Each stage can be
left at a checkpoint and taken up by another process.
"""

from collections.abc import Mapping

import torch

from models_store.datasets.store import ManifestEntry, read_manifest
from models_store.errors import Invalid
from models_store.models.providers import Provider
from models_store.storage import disk
from models_store.tasks.rooms import target_of
from workers.evaluation import soundness
from workers.evaluation.split_report import SplitReport
from workers.evaluation.temperature import temperature_of
from workers.export import sessions
from workers.export.benchmark import benchmark
from workers.export.figures import Measurement, Unmeasurable
from workers.export.graph import export
from workers.stages import evaluate, fit, prune, quantize
from workers.stages.context import Variant, Work, identity
from workers.stages.publish import publish, version_card
from workers.stages.standalone import make_standalone
from workers.stages.train import learn
from workers.stages.verify import check_files
from workers.training import warnings as training_warnings
from workers.training.examples import Examples
from workers.training.loop import Trained


class NothingToValidateOn(Invalid):
    """The val split is empty, and every choice is made on it."""

    code = "nothing_to_validate_on"
    title = "No validation images"


def run(work: Work) -> None:
    """Do the job: every stage in its order."""
    entries, arrays = read_data(work)
    trained = learn(work, arrays)
    variants = {"fp32": Variant(work.staging / "fp32.onnx", parent=None, net=trained.learner)}
    not_made = prune.cut(work, arrays, variants)
    not_made |= write_files(work, arrays, variants)
    not_made |= quantize.quantize_files(work, arrays, variants, missing=not_made)
    agreements, left_out = check_files(work, entries, arrays, variants)
    standalone, impossible = make_standalone(work, entries, arrays, variants["fp32"])
    not_made |= left_out | impossible
    examined = evaluate_file(work, entries, arrays, variants["fp32"])
    figures = measure_files(work, arrays, variants)
    not_made |= leave_out_what_runs_nowhere(work, variants, figures)
    agreements = {name: each for name, each in agreements.items() if name in variants}
    warnings = warn_of_the_result(work, trained, arrays, examined)
    card = version_card(work, trained, arrays, agreements=agreements, examined=examined, not_made=not_made)
    card |= {"warnings": warnings}
    publish(work, trained, arrays, variants, standalone=standalone, figures=figures, examined=examined, card=card)


def read_data(work: Work) -> tuple[list[ManifestEntry], Examples]:
    """Return the dataset's manifest and its images, decoded and resized once; `work.spec` fits its budget then."""
    work.reporter.phase("validating")
    entries = read_manifest(work.blobs.local(work.dataset.manifest_blob))
    if any(entry.split == "val" for entry in entries):
        fit.fit(work, entries)
    arrays = work.task.examples(
        work.spec,
        entries,
        work.blobs.local(work.dataset.content_blob),
        classes=work.dataset.classes,
        digest=work.dataset.digest,
        settings=work.settings,
        report=work.reporter.progress,
    )
    if len(arrays.split("val")) == 0:
        raise NothingToValidateOn("the dataset's val split is empty: give more images, or a `val` folder of your own")
    return entries, arrays


def write_files(work: Work, arrays: Examples, variants: dict[str, Variant]) -> dict[str, str]:
    """Export each net to its file, at a temperature of its own; return the variants that can't be exported, and why.

    Figures are not in it yet: they are measured on the file, and stamped when it is published.
    """
    work.reporter.phase("exporting")
    not_made: dict[str, str] = {}
    for done, (name, variant) in enumerate([*variants.items()], 1):
        work.reporter.progress((done - 1) / (len(variants) + len(not_made)), step=name)
        try:
            _write_file(work, arrays, name, variant)
        except Exception as error:
            if name == "fp32" or disk.is_full(error):
                raise
            # a net that was cut apart may be one that torch's exporter can't follow; its errors share no base
            not_made[name] = f"torch can't export the net: {(str(error).strip() or repr(error)).splitlines()[0][:500]}"
            work.reporter.warn(f"{name} is not made: {not_made[name]}")
            del variants[name]
        work.reporter.progress(done / (len(variants) + len(not_made)))
    return not_made


def evaluate_file(
    work: Work, entries: list[ManifestEntry], arrays: Examples, variant: Variant
) -> dict[str, SplitReport]:
    """Return everything that there is to say of the fp32 file's answers to the val and test splits."""
    work.reporter.phase("evaluating")
    session = sessions.open_session(variant.path, device=work.settings.device, threads=torch.get_num_threads())
    examined = evaluate.examine_file(work, entries, arrays, session, temperature=variant.divisor)
    work.reporter.metrics(**evaluate.headline(examined))
    return examined


def warn_of_the_result(
    work: Work, trained: Trained, arrays: Examples, examined: Mapping[str, SplitReport]
) -> list[str]:
    """Tell the owner what is likely to be wrong with the model, and return that with what training has shown."""
    target = target_of(work.spec.task)
    found = soundness.of_sections({split: each.section for split, each in examined.items()}, target=target)
    for text in found:
        work.reporter.warn_owner(text)
    outputs = target.output_count(len(arrays.classes))
    return [*training_warnings.of_history(trained.history, work.spec, outputs=outputs).values(), *found]


def measure_files(work: Work, arrays: Examples, variants: dict[str, Variant]) -> dict[Provider, dict[str, Measurement]]:
    """Return each file's accuracy, latency, throughput and memory on each provider, measured in fresh processes."""
    work.reporter.phase("measuring")
    return benchmark(
        {name: variant.path for name, variant in variants.items()},
        baseline="fp32",
        parents={name: variant.parent for name, variant in variants.items()},
        inputs=arrays.files,
        truths=arrays.targets,
        target=target_of(work.spec.task),
        splits={split: arrays.split(split) for split in ("val", "test")},
        device=work.settings.device,
        budget_s=work.settings.measure_s,
        threads=torch.get_num_threads(),
        limit_s=work.settings.measure_limit_s,
        report=work.reporter.progress,
    )


def leave_out_what_runs_nowhere(
    work: Work, variants: dict[str, Variant], figures: Mapping[Provider, dict[str, Measurement]]
) -> dict[str, str]:
    """Take the variants that no provider of this host can run out of `variants` and `figures`; return them, and why."""
    left_out = {}
    for name in list(variants):
        reasons = [each.reason for told in figures.values() if isinstance(each := told[name], Unmeasurable)]
        if len(reasons) == len(figures):
            left_out[name] = "; ".join(dict.fromkeys(reasons))
            work.reporter.warn(f"{name} is left out: {left_out[name]}")
            del variants[name]
            for told in figures.values():
                del told[name]
    return left_out


def _write_file(work: Work, arrays: Examples, name: str, variant: Variant) -> None:
    spec = work.spec
    assert variant.net is not None, "only nets are exported"
    variant.temperature = temperature_of(variant.net, arrays, spec=spec, device=work.device)
    if variant.temperature is not None:
        variant.facts = variant.facts | {"temperature": variant.temperature.as_card()}
    export(
        work.task.served(variant.net, spec, temperature=variant.divisor),
        opset=spec.export.opset,
        labels=work.dataset.classes,
        card=identity(work) | {"form": name, "temperature": variant.divisor},
        path=variant.path,
    )
