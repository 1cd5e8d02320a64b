"""Console without truncation: words wrap on a terminal, and in a pipe each line stays whole."""

import sys
from typing import Any

from rich.console import Console


class Screen(Console):
    """Standard output, or standard error, with rich's formatting."""

    def __init__(self, *, stderr: bool = False) -> None:
        is_watched = (sys.stderr if stderr else sys.stdout).isatty()
        super().__init__(stderr=stderr, highlight=False, soft_wrap=not is_watched)

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401  rich's signature
        """Print objects; wide text continues on the next line, and no word is broken."""
        words = " ".join(each for each in objects if isinstance(each, str)).split()
        is_too_long = any(len(word) > self.width for word in words)
        super().print(*objects, **{"crop": False, "soft_wrap": is_too_long or None} | options)
