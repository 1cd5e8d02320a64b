"""Console that cuts nothing: words wrap on a terminal, and in a pipe each line stays whole, however long."""

import sys
from typing import Any

from rich.console import Console


class Screen(Console):
    """Standard output, or standard error, for people."""

    def __init__(self, *, stderr: bool = False) -> None:
        is_watched = (sys.stderr if stderr else sys.stdout).isatty()
        super().__init__(stderr=stderr, highlight=False, soft_wrap=not is_watched)

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401  rich's signature
        """Print objects; what is wider than the terminal goes on in its next line."""
        super().print(*objects, **{"crop": False, "overflow": "ignore"} | options)
