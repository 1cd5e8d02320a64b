"""Patterns of ids, names and references, each with a description, so that users never see a pattern."""

import json
from collections.abc import Mapping
from types import MappingProxyType

NAME_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
ALIAS_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}"
OWN_PART = rf"wt_[0-9a-z]{{8,40}}|{NAME_PART}(@{ALIAS_PART}|:[0-9]{{1,9}})"

DATASET_ID = r"^ds_[0-9a-z]{8,40}$"
WEIGHTS_ID = r"^wt_[0-9a-z]{8,40}$"
JOB_ID = r"^job_[0-9a-z]{8,40}$"
NAME = f"^{NAME_PART}$"
ALIAS = f"^{ALIAS_PART}$"
VARIANT = r"^[a-z0-9][a-z0-9-]{0,59}$"
PICTURE = r"^[a-z0-9][a-z0-9-]{0,60}\.(svg|png)$"
REFERENCE = rf"^{NAME_PART}(@{ALIAS_PART}|:[0-9]{{1,9}})?$"
OWN_WEIGHTS = f"^({OWN_PART})$"
FREEZE = r"^(none|backbone|norms|until:[a-z][a-z0-9_]*)$"
PATH = r"^[a-z][a-z0-9_]*(\.([a-z][a-z0-9_]*|[0-9]{1,2}))*$"
KEY = r"^[\x21-\x7e]+$"
CURSOR = r"^[A-Za-z0-9._-]{1,80}$"
NUMBER_CURSOR = r"^[0-9]{1,6}$"
LAST_EVENT = r"^[0-9]{0,15}$"
IMAGE_ID = r"^img_[0-9]{1,9}$"
IMAGE_CURSOR = r"^[0-9]{1,9}$"
LINE_CURSOR = r"^[0-9]{1,15}$"

_ID = "followed by 8 to 40 small letters and digits"
OWN = "a file of yours (`wt_` and its id), or a model of yours as `name:3` or `name@alias`"
_CURSOR = "a cursor: give `next` of the previous page, unchanged"

WORDS = {
    DATASET_ID: f"an id of a dataset: `ds_` {_ID}; GET /datasets lists yours",
    WEIGHTS_ID: f"an id of a file of weights: `wt_` {_ID}; GET /weights lists yours",
    JOB_ID: f"an id of a job: `job_` {_ID}; GET /jobs lists yours",
    NAME: "a name of a model: 1 to 63 letters (a to z, A to Z), digits, dots, hyphens and underscores, the first one a letter or a digit",
    ALIAS: "an alias: 1 to 60 letters (a to z, A to Z), digits, dots, hyphens and underscores, the first one a letter or a digit",
    VARIANT: "a name of a variant: 1 to 60 small letters, digits and hyphens, such as fp32 or mixed-int8",
    PICTURE: "a name of a picture as the report lists it: small letters, digits and hyphens, and `.svg` or `.png`",
    REFERENCE: "a model of yours: its name, `name:3` for a version, or `name@alias`",
    OWN_WEIGHTS: f"weights to start from: {OWN}; null starts from random weights",
    FREEZE: "a way to freeze a backbone: `none`, `norms`, `backbone`, or `until:` and a stage, such as `until:layer2`",
    PATH: "a path in the spec: names and positions with dots between them, such as `optimizer.lr` or `augmentation.0.degrees`",
    KEY: "an idempotency key: 1 to 255 visible ASCII characters without spaces, such as a UUID",
    CURSOR: _CURSOR,
    NUMBER_CURSOR: _CURSOR,
    IMAGE_ID: "an id of an example: `img_` followed by 1 to 9 digits; GET /datasets/{id}/images lists them",
    IMAGE_CURSOR: _CURSOR,
    LINE_CURSOR: f"{_CURSOR}, or the `seq` of a line",
    LAST_EVENT: "a number of an event: up to 15 digits, as the stream's `id` lines have them",
}
"""pattern → description, to follow "is not" """
MOST_SHOWN = 80


def not_matching(pattern: str, given: object, others: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the sentence about a text that does not match a pattern; `others` are more of them with their words."""
    shown = str(given) if not isinstance(given, str) else given
    shown = shown if len(shown) <= MOST_SHOWN else f"{shown[:MOST_SHOWN]}…"
    return f"{json.dumps(shown, ensure_ascii=False)} is not {(WORDS | dict(others)).get(pattern, 'in the format that is needed here')}"
