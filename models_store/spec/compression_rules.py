"""Rules for the compression of a spec, and warnings about values that are probably not meant."""

from typing import TYPE_CHECKING

from models_store.models.sample_size import fewest_images, unseen_loss
from models_store.spec.contradiction import contradiction
from models_store.spec.pruning import NM, Recovery, StructuredPruning, UnstructuredL1
from models_store.spec.quantization import Bf16, DynamicInt8, Fp16, QatInt8, StaticInt8

if TYPE_CHECKING:
    from models_store.spec.compression import Compression
    from models_store.spec.facts import DatasetFacts
    from models_store.spec.train import ResolvedSpec, TrainSpec

MUCH = 0.5
"""loss of accuracy at which the gate is probably not meant"""
ALIGNED = 8
"""floats that a vector register of AVX2 holds"""
TRANSFORMERS = ("vit_", "deit_", "swin_")

Doubts = list[tuple[bool, str]]


def refuse_what_the_backbone_can_not_lose(spec: "TrainSpec") -> None:
    """Check pruning against the backbone.

    Raises:
        PydanticCustomError: of type `contradiction`, with a pointer and what is allowed.
    """
    backbone = spec.backbone
    if backbone is None or spec.compression is None:
        return
    cut = spec.compression.prune
    is_frozen = backbone.freeze == "backbone" or (backbone.freeze is None and backbone.weights is not None)
    if is_frozen and cut and spec.compression.recover is None:
        raise contradiction(
            "compression/recover",
            "a frozen backbone that is pruned must train on to recover; leave `recover` out, or give its epochs",
            None,
        )
    ranks_by_norms = isinstance(cut, StructuredPruning) and cut.importance == "bn_scale"
    if ranks_by_norms and not getattr(backbone, "batch_norm", True):
        raise contradiction(
            "compression/prune/importance",
            "bn_scale ranks channels by the scales of their batch norm, and this backbone has `batch_norm: false`",
            ["l2", "l1", "taylor", "random"],
        )


def doubts_of_compression(spec: "ResolvedSpec", facts: "DatasetFacts") -> Doubts:
    """Return warnings about values that are allowed but probably not meant, each with whether it applies."""
    compression = spec.compression
    if compression is None:
        return []
    return [
        *_of_pruning(compression),
        *_of_quantization(compression, facts, backbone=spec.backbone.kind),
        *_of_judging(compression, facts),
    ]


def _of_pruning(compression: "Compression") -> Doubts:
    cut, recover = compression.prune, compression.recover
    if isinstance(cut, UnstructuredL1 | NM):
        zeros = (
            f"{cut.kind} saves size only: the compressed file becomes smaller, the file itself does not, and no "
            "kernel here skips zeros"
        )
        rarely = f"{zeros}; with `objective: {compression.objective}` it almost never becomes the default"
        return [(True, zeros if compression.objective == "accuracy" else rarely)]
    if cut is None:
        return [
            (
                recover not in (None, Recovery()),
                "recover without `prune`: nothing is pruned, so nothing recovers; `training` sets how the net trains",
            )
        ]
    return [
        (
            recover is not None and cut.steps > recover.epochs,
            f"prune.steps {cut.steps} share {recover.epochs if recover else 0} epochs of recovery: some steps have none",
        ),
        (
            recover is None and cut.steps > 1,
            f"prune.steps {cut.steps} with `recover: null`: channels are ranked again between the steps, but the net does not recover",
        ),
        (
            cut.round_to % ALIGNED != 0,
            f"prune.round_to {cut.round_to}: an unaligned number of channels may run slower than the unpruned net; 16 is the default",
        ),
    ]


def _of_quantization(compression: "Compression", facts: "DatasetFacts", *, backbone: str) -> Doubts:
    parts = compression.quantize
    halves = [part.kind for part in parts if isinstance(part, Fp16 | Bf16)]
    calibrated = [part for part in parts if isinstance(part, StaticInt8)]
    unread = [
        part.kind
        for part in calibrated
        if part.calibration != "percentile" and part.percentile != StaticInt8().percentile
    ]
    counts = [part.calibration_images for part in parts if isinstance(part, StaticInt8 | QatInt8)]
    convolves = not any(name in backbone for name in TRANSFORMERS)
    return [
        (
            bool(unread),
            f"{' and '.join(unread)}: `percentile` needs `calibration: percentile`; here it does nothing",
        ),
        (
            any(facts.train_count < count != StaticInt8().calibration_images for count in counts),  # not the default
            f"calibration_images is reduced to the {facts.train_count} available training images",
        ),
        (
            convolves and any(isinstance(part, DynamicInt8) and part.layers == "all" for part in parts),
            f"dynamic_int8 with `layers: all`: the convolutions of {backbone} become many times slower",
        ),
        (
            bool(halves),
            f"{' and '.join(halves)}: made for GPUs; slower on CPUs, or without any kernel there",
        ),
    ]


def _of_judging(compression: "Compression", facts: "DatasetFacts") -> Doubts:
    count, most = facts.validation_count, compression.max_accuracy_drop
    is_judged = compression.prune is not None or bool(compression.quantize)
    doubts = [
        (
            is_judged and most == 0,
            "max_accuracy_drop 0: no number of images can prove that nothing is lost; a variant passes only if it is significantly better",
        ),
        (
            is_judged and most >= MUCH,
            f"max_accuracy_drop {most:g}: a variant that is mostly wrong may pass this gate",
        ),
    ]
    if count and most > 0:
        needed = fewest_images(most)
        few = (
            f"the gate judges on only {count} validation images: not enough images to decide whether a smaller "
            f"variant loses more than {most:g}, so fp32 stays the default. Even if every answer is the same, a loss "
            f"of {unseen_loss(count):.2g} is still possible; at least {needed:,} validation images are needed"
        )
        doubts.append((is_judged and count < needed, few))
    return doubts
