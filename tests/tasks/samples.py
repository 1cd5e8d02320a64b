"""What the tests need of a task: a dataset that is small and easily learned, a spec that is quick, examples to ask."""

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sample:
    """A dataset of one task. Only a task whose examples are files has a file to ask about."""

    files: Callable[[], Mapping[str, bytes]]
    """the archive: name → content"""
    value: Any
    """an example as JSON"""
    file: tuple[str, bytes]
    """the same example as a file"""
    spec: Mapping[str, Any] = field(default_factory=dict)
    broken: bytes = b"\xff"
    """a file that is no example"""

    def archive(self) -> bytes:
        """Return the files as a zip."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in self.files().items():
                archive.writestr(name, content)
        return buffer.getvalue()
