"""The stage that compares each file, on the way that serves, with the trained net that it comes from.

A file of 32-bit floats must answer as its net does: of fp32 that is a condition of publishing anything, a pruned net or
a control that fails is left out. A file of fewer bits is another function by design: how far it is from the net of the
file that it was made from is told in its card, and judged by its accuracy.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

import onnxruntime
import torch

from models_store.datasets.store import ManifestEntry
from models_store.spec.quantization import VARIANTS
from workers.compression.gate import BASELINE
from workers.export.sessions import answer, open_session
from workers.export.verify import Agreement, Family, VerificationFailed, compare, read_members, require
from workers.stages.context import Variant, Work
from workers.training import targets
from workers.training.examples import Examples, Inputs
from workers.training.feeds import probabilities
from workers.training.learner import Learner

Item = TypeVar("Item")


def check_files(
    work: Work, entries: list[ManifestEntry], arrays: Examples, variants: dict[str, Variant]
) -> tuple[dict[str, Agreement], dict[str, str]]:
    """Compare each file with its net on the val split; return how far they agree, and the variants that were left out.

    Variants that fail are taken out of `variants`, with what was made of them; the others' facts say under `parity` how
    far they agree.

    Raises:
        VerificationFailed: if fp32 does not answer as the trained net does.
    """
    work.reporter.phase("verifying")
    families = {
        name: [name, *_made_of(name, variants)] for name, variant in variants.items() if variant.net is not None
    }
    agreements = _compare(work, entries, arrays, variants, families)
    left_out: dict[str, str] = {}
    for name, agreement in agreements.items():
        if not _is_rounded(variants[name]):
            left_out |= _required(name, agreement, variants)
    for name, reason in left_out.items():
        work.reporter.warn(f"{name} is left out: {reason}")
        del variants[name]
    for name, variant in variants.items():
        if name in agreements:
            variant.facts = variant.facts | {"parity": agreements[name].as_card()}
    return {name: agreement for name, agreement in agreements.items() if name in variants}, left_out


def _required(name: str, agreement: Agreement, variants: dict[str, Variant]) -> dict[str, str]:
    """Return why a variant is left out, and what was made of it; nothing when it answers as its net does."""
    try:
        require(agreement)
    except VerificationFailed as failure:
        if name == BASELINE:
            raise
        children = [each for each in variants if name in _ancestors(each, variants)]
        why = f"{name}, which it was made of, does not answer as its net does"
        return {name: failure.detail} | dict.fromkeys(children, why)
    return {}


def _compare(
    work: Work,
    entries: list[ManifestEntry],
    arrays: Examples,
    variants: dict[str, Variant],
    families: dict[str, list[str]],
) -> dict[str, Agreement]:
    """Compare the file of each net, and those of fewer bits that were made from it, with the net."""
    rows = arrays.split("val")
    aim = targets.build(work.spec.task, arrays)
    sample = arrays.batch(rows[:1])
    compared = [
        Family(
            partial(
                probabilities,
                _net_of(variants[source]),
                arrays,
                activation=aim.target.activation,
                temperature=variants[source].divisor,
                device=work.device,
            ),
            {name: session for name in names if (session := _opened(work, name, variants[name], sample)) is not None},
            tolerance=aim.rounding,
        )
        for source, names in families.items()
    ]
    files = read_members(work.blobs.local(work.dataset.content_blob), (entries[row].member for row in rows))
    return compare(
        compared,
        files=_told(files, len(rows), work.reporter.progress),
        rows=rows,
        codec=work.task.codec(work.spec, settings=work.settings),
        target=aim.target,
    )


def _net_of(variant: Variant) -> Learner:
    assert variant.net is not None, "a family is of a net"
    return variant.net


def _opened(work: Work, name: str, variant: Variant, sample: Inputs) -> onnxruntime.InferenceSession | None:
    """Return a session on the CPU; None for a variant of fewer bits that does not run there."""
    if not _is_rounded(variant):
        return open_session(variant.path, device="cpu", threads=torch.get_num_threads())
    try:
        session = open_session(variant.path, device="cpu", threads=torch.get_num_threads())
        answer(session, sample)
    except Exception as error:  # noqa: BLE001  onnxruntime's errors share no base; measuring tells it in the card
        work.reporter.warn(f"{name} does not run on the CPU and is not compared with its net: {error}")
        return None
    return session


def _made_of(source: str, variants: dict[str, Variant]) -> list[str]:
    """Return the variants without a net of their own that were made from the source's file, in any number of steps."""

    def nearest(name: str) -> str | None:
        variant = variants[name]
        return name if variant.net is not None else nearest(variant.parent) if variant.parent in variants else None

    return [name for name in variants if name != source and nearest(name) == source]


def _ancestors(name: str, variants: dict[str, Variant]) -> Iterator[str]:
    parent = variants[name].parent
    while parent is not None:
        yield parent
        parent = variants[parent].parent if parent in variants else None


def _is_rounded(variant: Variant) -> bool:
    """Return whether the variant is one of fewer bits."""
    return (variant.made_by or {}).get("kind") in VARIANTS


def _told(items: Iterable[Item], count: int, report: Callable[[float], None]) -> Iterator[Item]:
    """Yield the items, telling the progress before each: a silent job is taken for a stuck one."""
    for done, item in enumerate(items):
        report(done / count)
        yield item
