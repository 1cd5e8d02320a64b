"""Golden inputs of a version: a few validation examples as clients send them, and what each of its files answers.

They are kept as a blob of JSON when a version is published, and stay with it when its dataset is deleted. Before an
alias moves to a file, the file answers them again where it serves.
"""

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path

MOST_EXAMPLES = 8
MOST_BYTES = 1 << 20
"""of all examples of a version together"""


@dataclass(frozen=True)
class Golden:
    """Examples, and variant → the outputs of its file for each of them, on the CPU that published it."""

    examples: tuple[bytes, ...]
    outputs: dict[str, list[list[float]]]

    def write(self, path: Path) -> Path:
        """Write the file that is kept."""
        examples = [b64encode(each).decode() for each in self.examples]
        path.write_text(json.dumps({"examples": examples, "outputs": self.outputs}), encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path) -> "Golden":
        """Return what `write` has kept."""
        document = json.loads(path.read_text(encoding="utf-8"))
        return cls(tuple(b64decode(each) for each in document["examples"]), document["outputs"])
