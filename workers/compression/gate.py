"""Decides which of the measured forms are good enough to be served, and which one is served by default.

A form is accepted when it is faster than the form it was made from and keeps its accuracy within the spec's limit. One
that isn't is published all the same, with the reasons: hiding it would hide what was measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass

BASELINE = "fp32"
ROUNDING = 1e-9  # a drop of exactly the limit is within it, whatever binary fractions make of it


@dataclass(frozen=True)
class Measured:
    """What the gate looks at: `accuracy` on the validation split (for numbers R²), `speedup` against fp32."""

    accuracy: float
    speedup: float
    parent: str | None = BASELINE
    """the form this one was made from; None for fp32 itself"""


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one form."""

    accuracy_drop: float
    """accuracy lost against fp32; negative when the form is better"""
    accepted: bool
    reasons: tuple[str, ...]
    """why not; empty when accepted"""


@dataclass(frozen=True)
class Choice:
    """The verdict on every form, and the form to serve by default."""

    verdicts: dict[str, Verdict]
    default: str


def choose(forms: Mapping[str, Measured], *, max_accuracy_drop: float) -> Choice:
    """Return which forms are accepted and why not the others; the default is the fastest accepted one.

    `forms` holds `fp32`, which is always accepted. Accuracy is compared with fp32, speed with fp32 and with the form's
    parent: a form that was quantised after pruning has to be worth its last step too.
    """
    verdicts = {name: _judge(name, forms, max_accuracy_drop=max_accuracy_drop) for name in forms}
    accepted = [name for name, verdict in verdicts.items() if verdict.accepted]
    # between equals the one of higher accuracy, then the one named first
    default = max(accepted, key=lambda name: (forms[name].speedup, forms[name].accuracy))
    return Choice(verdicts, default)


def _judge(name: str, forms: Mapping[str, Measured], *, max_accuracy_drop: float) -> Verdict:
    form, baseline = forms[name], forms[BASELINE]
    if name == BASELINE:
        return Verdict(0.0, accepted=True, reasons=())
    drop = baseline.accuracy - form.accuracy
    reasons = []
    if not drop <= max_accuracy_drop + ROUNDING:
        reasons.append(
            f"loses {drop:.4f} of accuracy on the validation split ({form.accuracy:.4f} against "
            f"{baseline.accuracy:.4f}); at most {max_accuracy_drop:g} is allowed"
        )
    for other in dict.fromkeys([BASELINE, form.parent or BASELINE]):
        ratio = form.speedup / forms[other].speedup
        if not ratio > 1:
            reasons.append(f"is not faster than {other}: {ratio:.2f} times its speed")
    return Verdict(drop, accepted=not reasons, reasons=tuple(reasons))
