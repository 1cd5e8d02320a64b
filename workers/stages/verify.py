"""Stage that verifies each file: it is compared, on the way that serves, with the trained net that it comes from.

A file of 32-bit floats must answer as its net does: of fp32 that is a condition of publishing anything, a pruned net or
a control that fails is left out. A file of fewer bits is another function by design: its card says how far it is from
the net of the file that it was made from, and it is judged by its accuracy.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import onnxruntime
import torch

from models_store.tasks.codec import Codec
from models_store.tasks.rooms import contract_of
from workers.compression.gate import BASELINE
from workers.export.sessions import answer, open_session
from workers.export.verify import Agreement, Family, VerificationFailed, compare, require
from workers.process.progress import each_reported
from workers.stages.context import Work
from workers.stages.data import Data
from workers.stages.variant import Variant, Variants
from workers.training import targets
from workers.training.examples import Inputs
from workers.training.feeds import probabilities
from workers.training.learner import Learner


def verify(work: Work, data: Data, variants: Variants) -> Variants:
    """Return the variants with how far each file agrees with its net on the val split.

    Those that fail are left out, with what was made of them.

    Raises:
        VerificationFailed: if fp32 does not answer as the trained net does.
    """
    work.reporter.phase("verifying")
    agreements = _compare(work, data, variants)
    left_out: dict[str, str] = {}
    for name, agreement in agreements.items():
        if not variants.made[name].has_fewer_bits:
            left_out |= _failures(name, agreement, variants)
    for name, reason in left_out.items():
        work.reporter.warn(f"{name} is left out: {reason}")
    compared = {name: replace(variants.made[name], parity=agreement) for name, agreement in agreements.items()}
    return variants.with_made(compared).without(left_out)


def _failures(name: str, agreement: Agreement, variants: Variants) -> dict[str, str]:
    """Return why a variant is left out, and what was made of it; nothing when it answers as its net does."""
    try:
        require(agreement)
    except VerificationFailed as failure:
        if name == BASELINE:
            raise
        children = [each for each in variants.made if name in variants.ancestors(each)]
        why = f"{name}, which it was made of, does not answer as its net does"
        return {name: failure.detail} | dict.fromkeys(children, why)
    return {}


def _compare(work: Work, data: Data, variants: Variants) -> dict[str, Agreement]:
    """Compare the file of each net, and those of fewer bits that were made from it, with the net."""
    rows = data.examples.split("val")
    aim = targets.build(work.spec.task, data.examples)
    sample = data.examples.batch(rows[:1])
    sources = {name: variant for name, variant in variants.made.items() if variant.net is not None}
    families = [
        Family(
            partial(
                probabilities,
                _net_of(source),
                data.examples,
                activation=aim.target.activation,
                temperature=source.divisor,
                device=work.device,
            ),
            {
                member: session
                for member in [name, *_made_of(name, variants)]
                if (session := _opened(work, member, variants.made[member], sample)) is not None
            },
            tolerance=aim.rounding,
        )
        for name, source in sources.items()
    ]
    return compare(
        families,
        files=each_reported(data.files(rows), len(rows), work.reporter.progress),
        rows=rows,
        codec=codec_of(work, data),
        target=aim.target,
    )


def codec_of(work: Work, data: Data) -> Codec[Any]:
    """Return the way from raw bytes to the files' inputs, as serving makes it of a card and a version's files."""
    files = work.task.auxiliary_files(data.examples, work.staging)
    card = work.identity | {"labels": data.examples.classes}
    return contract_of(work.spec.task).codec(card, files=files, settings=work.settings)


def _net_of(variant: Variant) -> Learner:
    assert variant.net is not None, "a family is of a net"
    return variant.net


def _opened(work: Work, name: str, variant: Variant, sample: Inputs) -> onnxruntime.InferenceSession | None:
    """Return a session on the CPU; None for a variant of fewer bits that does not run there."""
    if not variant.has_fewer_bits:
        return open_session(variant.path, device="cpu", threads=torch.get_num_threads())
    try:
        session = open_session(variant.path, device="cpu", threads=torch.get_num_threads())
        answer(session, sample)
    except Exception as error:  # noqa: BLE001  onnxruntime's errors share no base; measuring says it in the card
        work.reporter.warn(f"{name} does not run on the CPU and is not compared with its net: {error}")
        return None
    return session


def _made_of(source: str, variants: Variants) -> list[str]:
    """Return the variants without a net of their own that were made from the source's file, in any number of steps."""

    def has_net(name: str) -> bool:
        return name in variants.made and variants.made[name].net is not None

    return [
        name
        for name in variants.made
        if not has_net(name) and next(filter(has_net, variants.ancestors(name)), None) == source
    ]
