"""The story of one job, top to bottom.

data → train → prune → export → quantize → verify → evaluate → measure → publish. It reads an assignment, works in its
staging folder, puts finished files among the blobs, and tells its supervisor what to publish. Each stage can be left at
a checkpoint and taken up by another process.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from models_store import registry
from models_store.blobs import Blobs
from models_store.datasets import ManifestEntry, read_manifest
from models_store.errors import Invalid
from models_store.settings import Settings
from models_store.spec.compression import StaticInt8, StructuredPruning
from models_store.spec.train import ResolvedSpec
from workers import examining, promotion
from workers.assignment import Assignment
from workers.checkpoints import JobCheckpoints
from workers.compression import gate
from workers.evaluation.calibration import Temperature
from workers.evaluation.examination import Examined, for_card
from workers.export import sessions
from workers.export.benchmark import Figures, benchmark
from workers.export.graph import export
from workers.export.verify import Agreement, read_members, verify
from workers.image import task
from workers.image.data import ImageArrays, prepare
from workers.image.task import Classifier
from workers.progress import Reporter, Stretch
from workers.reporting import PipeReporter
from workers.training import targets
from workers.training.derived_specs import probing, recovery
from workers.training.feeds import probabilities
from workers.training.loop import Trained, train


class NothingToValidateOn(Invalid):
    """The val split is empty, and every choice is made on it."""

    code = "nothing_to_validate_on"
    title = "No validation images"


PROBE_SHARE = 0.1  # of the progress of training, when the head is trained first

Item = TypeVar("Item")


@dataclass
class Form:
    """One exported form on its way: its file, and the net or the form it was made from."""

    path: Path
    parent: str | None
    net: Classifier | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    temperature: Temperature | None = None
    """what the net's logits are divided by in its file; None: by nothing"""

    @property
    def divisor(self) -> float:
        """Return the temperature, 1 where there is none."""
        return self.temperature.value if self.temperature else 1.0


@dataclass
class Work:
    """What the stages of one job share."""

    assignment: Assignment
    settings: Settings
    spec: ResolvedSpec
    device: torch.device
    blobs: Blobs
    reporter: PipeReporter
    checkpoints: JobCheckpoints

    @property
    def staging(self) -> Path:
        """Return this attempt's own folder."""
        return Path(self.assignment.staging)


def run(work: Work) -> None:
    """Do the job: every stage in its order."""
    entries, arrays = read_data(work)
    trained = learn(work, arrays)
    forms = {"fp32": Form(work.staging / "fp32.onnx", parent=None, net=trained.classifier)}
    not_made = cut_channels(work, arrays, forms)
    write_files(work, arrays, forms)
    make_int8(work, arrays, forms)
    agreements = check_files(work, entries, arrays, forms)
    examined = evaluate_file(work, entries, arrays, forms["fp32"])
    figures = measure_files(work, arrays, forms)
    card = version_card(work, trained, arrays, agreements=agreements, examined=examined, not_made=not_made)
    publish(work, trained, arrays, forms, figures=figures, examined=examined, card=card)


def read_data(work: Work) -> tuple[list[ManifestEntry], ImageArrays]:
    """Return the dataset's manifest and its images, decoded and resized once."""
    work.reporter.phase("validating")
    assignment = work.assignment
    entries = read_manifest(work.blobs.local(assignment.manifest_blob))
    arrays = prepare(
        entries,
        work.blobs.local(assignment.images_blob),
        classes=assignment.classes,
        digest=assignment.dataset_digest,
        spec_input=work.spec.input,
        cache=work.settings.scratch / "cache",
        cache_max_bytes=work.settings.cache_max_bytes,
        max_pixels=work.settings.image_max_pixels,
        report=work.reporter.progress,
    )
    if len(arrays.split("val")) == 0:
        raise NothingToValidateOn("the dataset's val split is empty: give more images, or a `val` folder of your own")
    return entries, arrays


def learn(work: Work, arrays: ImageArrays) -> Trained[Classifier]:
    """Return the trained net, with the weights of its best epoch."""
    work.reporter.phase("training")
    classifier = _net(work, arrays, spec=work.spec)
    promoted = work.assignment.promoted
    if promoted is not None:
        return promotion.take_up(classifier, work.blobs.local(promoted["weights"]), promoted)
    if not work.spec.transfer.probe_epochs:
        return _train(work, classifier, arrays, spec=work.spec, stage="training")
    spec = probing(work.spec)
    told = Stretch(work.reporter, start=0.0, end=PROBE_SHARE, prefix="probe_")
    probed = _train(work, _net(work, arrays, spec=spec), arrays, spec=spec, stage="probing", reporter=told)
    classifier.load_state_dict(probed.classifier.state_dict())
    told = Stretch(work.reporter, start=PROBE_SHARE, end=1.0)
    return _train(work, classifier, arrays, spec=work.spec, stage="training", reporter=told)


def cut_channels(work: Work, arrays: ImageArrays, forms: dict[str, Form]) -> dict[str, str]:
    """Add a pruned and recovered form, when the spec asks for one; return the forms that could not be made, and why."""
    part = work.spec.compression.prune if work.spec.compression else None
    if part is None:
        return {}
    from workers.compression.prune import PruningImpossible  # noqa: PLC0415  seconds that other jobs are spared

    work.reporter.phase("pruning")
    parent = forms["fp32"].net
    assert parent is not None, "fp32 is made from a net"
    try:
        pruned, facts = _cut(work, parent, part)
    except PruningImpossible as error:
        work.reporter.log(error.detail)
        return {"pruned": error.detail}
    if part.recover_epochs:
        spec = recovery(work.spec, epochs=part.recover_epochs)
        pruned = _train(work, pruned, arrays, spec=spec, stage="recovery").classifier
    forms["pruned"] = Form(work.staging / "pruned.onnx", parent="fp32", net=pruned, facts={"pruning": facts})
    return {}


def write_files(work: Work, arrays: ImageArrays, forms: dict[str, Form]) -> None:
    """Export each net to its file, at a temperature of its own.

    A card in a file holds no figures: they are measured on the file, afterwards.
    """
    work.reporter.phase("exporting")
    spec, assignment = work.spec, work.assignment
    assert spec.input.size is not None, "the spec is resolved"
    for done, (name, form) in enumerate(forms.items(), 1):
        assert form.net is not None, "only nets are exported"
        form.temperature = examining.temperature_of(work, form.net, arrays)
        if form.temperature is not None:
            form.facts = form.facts | {"temperature": form.temperature.as_card()}
        export(
            form.net,
            mean=form.net.mean,
            std=form.net.std,
            size=spec.input.size,
            channels=spec.input.channels,
            opset=spec.export.opset,
            labels=assignment.classes,
            card=_identity(work) | {"form": name},
            path=form.path,
            activation=targets.activation_of(spec.task),
            temperature=form.divisor,
        )
        work.reporter.progress(done / len(forms))


def make_int8(work: Work, arrays: ImageArrays, forms: dict[str, Form]) -> None:
    """Add the int8 form of each file, when the spec asks for it."""
    part: StaticInt8 | None = work.spec.compression.quantize if work.spec.compression else None
    if part is None:
        return
    from workers.compression.quantize import calibration_indexes, quantize  # noqa: PLC0415  as above

    work.reporter.phase("quantizing")
    train_indexes = arrays.split("train")
    labels_N = arrays.labels_N if work.spec.task == "image_classification" else None
    indexes = calibration_indexes(labels_N, train_indexes, count=part.calibration_images, seed=work.spec.seed)
    sources = list(forms.items())
    for done, (name, form) in enumerate(sources):
        target = "int8" if name == "fp32" else f"{name}-int8"
        path = work.staging / f"{target}.onnx"
        quantize(
            form.path,
            path,
            part=part,
            images_NHWC=arrays.images_NHWC,
            indexes=indexes,
            activation=targets.activation_of(work.spec.task),
            report=_part(work.reporter, done, len(sources)),
        )
        forms[target] = Form(path, parent=name, facts=form.facts | {"calibration_images": len(indexes)})


def check_files(
    work: Work, entries: list[ManifestEntry], arrays: ImageArrays, forms: dict[str, Form]
) -> dict[str, Agreement]:
    """Compare each exported net's file, fed with raw bytes, with the net itself, on the val split."""
    work.reporter.phase("verifying")
    indexes = arrays.split("val")
    aim = targets.build(work.spec.task, arrays)
    images = work.blobs.local(work.assignment.images_blob)
    nets = {name: form.net for name, form in forms.items() if form.net is not None}
    agreements = {}
    for done, (name, net) in enumerate(nets.items()):
        files = read_members(images, (entries[index].member for index in indexes))
        agreements[name] = verify(
            forms[name].path,
            files=_told(files, len(indexes), _part(work.reporter, done, len(nets))),
            rows=indexes,
            predict=partial(
                probabilities,
                net,
                arrays,
                activation=aim.activation,
                temperature=forms[name].divisor,
                device=work.device,
            ),
            decoding=work.spec.input,
            task=aim.task,
            tolerance=aim.rounding,
            max_pixels=work.settings.image_max_pixels,
        )
    return agreements


def evaluate_file(work: Work, entries: list[ManifestEntry], arrays: ImageArrays, form: Form) -> dict[str, Examined]:
    """Return everything that there is to say of the fp32 file's answers to the val and test splits."""
    work.reporter.phase("evaluating")
    session = sessions.open_session(form.path, device=work.settings.device, threads=torch.get_num_threads())
    examined = examining.examine_file(work, entries, arrays, session, temperature=form.divisor)
    work.reporter.metrics(**examining.headline(examined))
    return examined


def measure_files(work: Work, arrays: ImageArrays, forms: dict[str, Form]) -> dict[str, Figures]:
    """Return each file's accuracy, latency, throughput and size, measured beside fp32 in a fresh process."""
    work.reporter.phase("measuring")
    return benchmark(
        {name: form.path for name, form in forms.items()},
        baseline="fp32",
        images=Path(str(arrays.images_NHWC.filename)),  # type: ignore[attr-defined]  # a memory map has one
        targets=arrays.targets,
        task=work.spec.task,
        splits={split: arrays.split(split) for split in ("val", "test")},
        device=work.settings.device,
        budget_s=work.settings.measure_s,
        report=work.reporter.progress,
    )


def version_card(
    work: Work,
    trained: Trained[Classifier],
    arrays: ImageArrays,
    *,
    agreements: dict[str, Agreement],
    examined: dict[str, Examined],
    not_made: dict[str, str],
) -> dict[str, Any]:
    """Return what is known of the version as a whole."""
    return _identity(work) | {
        "labels": arrays.classes,
        "metrics": {split: for_card(each.section) for split, each in examined.items()},
        "agreement": {name: agreement.as_card() for name, agreement in agreements.items()},
        "not_made": not_made,
        "training": {
            "best_epoch": trained.best_epoch,
            "epochs": len(trained.history),
            "precision": trained.precision,
            "batch_size": trained.batch_size,
            "device": work.device.type,
            "threads": torch.get_num_threads(),
        },
    }


def publish(
    work: Work,
    trained: Trained[Classifier],
    arrays: ImageArrays,
    forms: dict[str, Form],
    *,
    figures: dict[str, Figures],
    examined: dict[str, Examined],
    card: dict[str, Any],
) -> None:
    """Judge the forms, put their files and the report among the blobs, and tell the supervisor what to publish."""
    work.reporter.phase("publishing")
    allowed = work.spec.compression.max_accuracy_drop if work.spec.compression else 0.0
    measured = {
        name: gate.Measured(figures[name].accuracy["val"], figures[name].speedup, parent=form.parent)
        for name, form in forms.items()
    }
    choice = gate.choose(measured, max_accuracy_drop=allowed)
    weights = work.blobs.put(task.save(trained.classifier, work.staging / "weights.safetensors"))
    variants = []
    for name, form in forms.items():
        verdict = choice.verdicts[name]
        judged = {
            "accuracy_drop": verdict.accuracy_drop,
            "accepted": verdict.accepted,
            "reasons": list(verdict.reasons),
        }
        variant_card = {"kind": name, "parent": form.parent} | figures[name].as_card() | judged | form.facts
        blob = work.blobs.put(form.path)
        variants.append(registry.Variant(name, blob.sha256, blob.size_bytes, variant_card, accepted=verdict.accepted))
    report = examining.write_report(
        work,
        trained,
        arrays,
        examined,
        temperature=forms["fp32"].temperature,
        forms={each.name: examining.form_told(each.card, size_bytes=each.size_bytes) for each in variants},
    )
    work.reporter.say(
        "result",
        {
            "card": card,
            "default_variant": choice.default,
            "variants": [asdict(variant) for variant in variants],
            "weights_blob": weights.sha256,
            "files": {"report": report},
        },
    )


def _net(work: Work, arrays: ImageArrays, *, spec: ResolvedSpec) -> Classifier:
    """Return the net of a spec as it is before training."""
    assert work.settings.weights_dir is not None, "settings fill it in"
    work.settings.weights_dir.mkdir(parents=True, exist_ok=True)
    aim = targets.build(spec.task, arrays)
    start = work.assignment.initial_weights
    return task.build(
        spec,
        class_count=aim.output_count,
        weights_dir=work.settings.weights_dir,
        initial_weights=None if start is None else work.blobs.local(start),
        last_layer=aim.last_layer(),
    )


def _train(
    work: Work,
    classifier: Classifier,
    arrays: ImageArrays,
    *,
    spec: ResolvedSpec,
    stage: str,
    reporter: Reporter | None = None,
) -> Trained[Classifier]:
    return train(
        classifier,
        arrays,
        spec=spec,
        device=work.device,
        reporter=reporter or work.reporter,
        checkpoints=work.checkpoints.stage(stage),
        clock=time.monotonic,
        checkpoint_s=work.settings.checkpoint_s,
        teacher=None if spec.distillation is None else _teacher(work, arrays),
    )


def _teacher(work: Work, arrays: ImageArrays) -> Classifier:
    """Return the trained net that the spec's `distillation` names."""
    given = work.assignment.teacher
    assert given is not None, "the supervisor hands over what the spec names"
    aim = targets.build(work.spec.task, arrays)
    return task.restore(
        ResolvedSpec.model_validate(given["spec"]),
        work.blobs.local(given["weights"]),
        class_count=aim.output_count,
        last_layer=aim.last_layer(),
    )


def _cut(work: Work, parent: Classifier, part: StructuredPruning) -> tuple[Classifier, dict[str, Any]]:
    """Return the pruned net and what the cut did; an earlier attempt's cut is repeated, not made anew."""
    from workers.compression.prune import prune, restructure  # noqa: PLC0415  as above

    size, channels = work.spec.input.size, work.spec.input.channels
    assert size is not None, "the spec is resolved"
    saved = work.checkpoints.load("pruning")
    if saved is not None:
        net = restructure(parent.cpu(), saved["cuts"], size=size, channels=channels)
        facts = saved["facts"]
    else:
        pruned = prune(parent.cpu(), part, size=size, channels=channels)
        net, facts = pruned.classifier, pruned.facts.as_card()
        work.checkpoints.save("pruning", {"cuts": pruned.cuts, "facts": facts})
    assert isinstance(net, Classifier), "a copy is of its original's class"
    return net, facts


def _part(reporter: PipeReporter, done: int, parts: int) -> Callable[[float], None]:
    """Return what takes the progress of one of several equal parts of a phase."""
    return lambda fraction: reporter.progress((done + fraction) / parts)


def _told(items: Iterable[Item], count: int, report: Callable[[float], None]) -> Iterator[Item]:
    """Yield the items, telling the progress before each: a silent job is taken for a stuck one."""
    for done, item in enumerate(items):
        report(done / count)
        yield item


def _identity(work: Work) -> dict[str, Any]:
    spec, assignment = work.spec, work.assignment
    return {
        "task": spec.task,
        "backbone": spec.backbone.kind,
        "input": spec.input.model_dump(mode="json"),
        "spec_sha256": assignment.spec_sha256,
        "dataset": assignment.dataset_id,
        "dataset_digest": assignment.dataset_digest,
    }
