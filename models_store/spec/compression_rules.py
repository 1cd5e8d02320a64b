"""Rules of compression: what the network can't lose, and what is unlikely to be meant."""

from typing import TYPE_CHECKING

from models_store.spec.contradiction import contradiction
from models_store.spec.pruning import NM, Recovery, StructuredPruning, UnstructuredL1, VocabularyPruning
from models_store.spec.quantization import VARIANTS, Bf16, Fp16, QatInt8, StaticInt8
from models_store.spec.recipe import Warnings
from models_store.spec.sample_size import fewest_examples, unseen_loss
from models_store.wording import counted

if TYPE_CHECKING:
    from models_store.spec.compression import Compression
    from models_store.spec.facts import DatasetFacts
    from models_store.spec.network import Network
    from models_store.spec.train import ResolvedSpec, TrainSpec

MUCH = 0.5
"""loss of accuracy at which the gate is probably not meant"""
READ_BEFOREHAND = ("static_int8", "mixed_int8", "qat_int8")
"""kinds of quantisation that read the ranges of activations before the file is made"""
ALIGNED = 8
"""floats that a vector register of AVX2 holds"""


def refuse_what_the_network_can_not_lose(spec: "TrainSpec") -> None:
    """Check pruning against the network.

    Raises:
        PydanticCustomError: of type `contradiction`, with a pointer and what is allowed.
    """
    network = spec.network
    if network is None or spec.compression is None:
        return
    cut = spec.compression.prune
    is_frozen = network.freeze == "backbone" or (network.freeze is None and network.weights is not None)
    if is_frozen and cut and spec.compression.recover is None:
        raise contradiction(
            "compression/recover",
            "a frozen backbone that is pruned must train on to recover; leave `recover` out, or give its epochs",
            None,
        )
    if isinstance(cut, StructuredPruning) and not network.has_channels:
        raise contradiction(
            "compression/prune/kind",
            f"{network.kind} has no channels that can be removed; {_others(network)} its file smaller",
            _kinds_for(network),
        )
    if isinstance(cut, VocabularyPruning) and not network.has_vocabulary:
        raise contradiction(
            "compression/prune/kind",
            f"{network.kind} has no vocabulary that can be cut; {_others(network)} its file smaller",
            _kinds_for(network),
        )
    if isinstance(cut, UnstructuredL1 | NM) and not network.has_single_weights:
        raise contradiction(
            "compression/prune/kind",
            f"{cut.kind} sets single weights of convolutions and linear layers to zero, and {network.kind} has none below its "
            f"head; {_others(network)} its file smaller",
            _kinds_for(network),
        )
    _refuse_bits_of_layers_that_are_not_there(spec.compression, network)
    ranks_by_norms = isinstance(cut, StructuredPruning) and cut.importance == "bn_scale"
    if ranks_by_norms and not network.has_batch_norm:
        raise contradiction(
            "compression/prune/importance",
            "bn_scale ranks channels by the scales of their batch norm, and this backbone has none",
            ["l2", "l1", "taylor", "random"],
        )


def _kinds_for(network: "Network") -> list[str]:
    """Return the kinds of pruning that a network allows."""
    return [
        *(["structured"] if network.has_channels else []),
        *(["unstructured_l1", "n_m"] if network.has_single_weights else []),
        *(["vocabulary"] if network.has_vocabulary else []),
    ]


def _others(network: "Network") -> str:
    """Return what else makes a network's file smaller, and the verb."""
    kinds = _kinds_for(network)
    return f"{', '.join(kinds)} and `compression.quantize` make" if kinds else "`compression.quantize` makes"


def _refuse_bits_of_layers_that_are_not_there(compression: "Compression", network: "Network") -> None:
    """Check the kinds of quantisation that are for certain layers."""
    allowed = [
        kind
        for kind in VARIANTS
        if not (kind in READ_BEFOREHAND and not network.has_static_layers)
        and not (kind == "dynamic_int8" and not network.has_dynamic_layers)
        and not (kind == "qat_int8" and not network.takes_floats)
        and not (kind == "weights_int4" and not network.has_linear_layers)
    ]
    for number, part in enumerate(compression.quantize):
        if part.kind in allowed or (part.kind == "dynamic_int8" and part.layers == "all" and network.has_static_layers):
            continue
        if part.kind == "dynamic_int8":
            why = (
                f"dynamic_int8 rounds the activations of linear layers and of LSTMs, and {network.kind} has none below "
                "its head: the file would be no faster; weights_int8 makes it as small"
            )
        elif part.kind == "weights_int4":
            why = (
                f"weights_int4 is for linear layers, and {network.kind} has none below its head: 4 bits would save next "
                "to nothing; take weights_int8"
            )
        elif network.has_static_layers:
            why = (
                f"qat_int8 simulates rounding from the input on, and {network.kind} takes numbers of tokens, which are not "
                "rounded; take static_int8 or weights_int8"
            )
        else:
            why = (
                f"{part.kind} rounds the activations of convolutions and linear layers, and {network.kind} has none; "
                f"take one of {', '.join(allowed)}, or leave it out"
            )
        raise contradiction(f"compression/quantize/{number}/kind", why, allowed)


def warnings_of_compression(spec: "ResolvedSpec", facts: "DatasetFacts") -> Warnings:
    """Return warnings about values that are allowed but probably not meant, each with whether it applies."""
    compression = spec.compression
    if compression is None:
        return []
    return [
        *_of_pruning(compression),
        *_of_quantization(compression, facts, example=spec.recipe.example),
        *_of_the_gate(compression, facts, example=spec.recipe.example),
    ]


def _of_pruning(compression: "Compression") -> Warnings:
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
    if isinstance(cut, VocabularyPruning):
        hint = (
            "prune of a vocabulary saves size only: a text takes as long; `objective: size` lets it become the default"
        )
        return [(compression.objective == "latency", hint)]
    return [
        (
            recover is not None and cut.steps > recover.epochs,
            f"prune.steps {cut.steps} share {counted(recover.epochs if recover else 0, 'epoch')} of recovery: some steps have none",
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


def _of_quantization(compression: "Compression", facts: "DatasetFacts", *, example: str) -> Warnings:
    parts = compression.quantize
    halves = [part.kind for part in parts if isinstance(part, Fp16 | Bf16)]
    calibrated = [part for part in parts if isinstance(part, StaticInt8)]
    unread = [
        part.kind
        for part in calibrated
        if part.calibration != "percentile" and part.percentile != StaticInt8().percentile
    ]
    counts = [part.calibration_images for part in parts if isinstance(part, StaticInt8 | QatInt8)]
    return [
        (
            bool(unread),
            f"{' and '.join(unread)}: `percentile` needs `calibration: percentile`; here it does nothing",
        ),
        (
            any(facts.train_count < count != StaticInt8().calibration_images for count in counts),  # not the default
            f"calibration_images is reduced to the {counted(facts.train_count, f'available training {example}')}",
        ),
        (
            bool(halves),
            f"{' and '.join(halves)}: made for GPUs; slower on CPUs, or without any kernel there",
        ),
    ]


def _of_the_gate(compression: "Compression", facts: "DatasetFacts", *, example: str) -> Warnings:
    count, most = facts.validation_count, compression.max_accuracy_drop
    is_judged = compression.prune is not None or bool(compression.quantize)
    found = [
        (
            is_judged and most == 0,
            f"max_accuracy_drop 0: no number of {example}s can prove that nothing is lost; a variant passes only if it is significantly better",
        ),
        (
            is_judged and most >= MUCH,
            f"max_accuracy_drop {most:g}: a variant that is mostly wrong may pass this gate",
        ),
    ]
    if count and most > 0:
        needed = fewest_examples(most)
        few = (
            f"the gate judges on only {counted(count, f'validation {example}')}: not enough {example}s to decide whether a smaller "
            f"variant loses more than {most:g}, so fp32 stays the default. Even if every answer is the same, a loss "
            f"of {unseen_loss(count):.2g} is still possible; at least {needed:,} validation {example}s are needed"
        )
        found.append((is_judged and count < needed, few))
    return found
