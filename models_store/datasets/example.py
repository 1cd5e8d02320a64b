"""One example of a dataset on its way from an archive."""

from dataclasses import dataclass, field

from models_store.datasets.manifest import Facts


@dataclass(frozen=True, slots=True)
class Inspected:
    """A member of an archive that its task has read whole.

    `facts` are kept in the dataset's manifest; `passing` serve the checks and the card of this upload.
    """

    suffix: str
    """ending of the name that it is stored under, without a dot; it follows from the content"""
    facts: Facts = field(default_factory=dict)
    passing: Facts = field(default_factory=dict)
    alike: str = ""
    """what it shares with its copies, where those may differ in their bytes; see `ManifestEntry.alike`"""
    sketch: bytes = b""
    """what it shares mostly with its near copies, see `near_copies`; none: the task looks for none"""


@dataclass(frozen=True, slots=True)
class Example:
    """A file of an archive that can be decoded, and what its task has found out about it."""

    file: str
    member: str
    """its name in the dataset's content; files of one content share it"""
    sha256: str
    size_bytes: int
    facts: Facts
    passing: Facts
    alike: str = ""
    sketch: bytes = b""
