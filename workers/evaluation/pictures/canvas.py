"""Canvas of all pictures: ink, paper, colours, and figures as self-contained files.

Text stays text, names of classes are never taken for formulas, and the same figure gives the same bytes. Matplotlib's
state for the interactive (`pyplot`) is never touched.
"""

import functools
import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Drawn = TypeVar("Drawn")

INK = "#1c1c21"
PAPER = "#fdfdfe"
FAINT = "#9a9aa2"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""distinguishable with every kind of colour vision, on white and on black (Okabe and Ito 2008, Color Universal
Design)"""
SHADES = "cividis"  # as bright on the printer as on the screen; perceptually even without red or green cones
LONGEST_LABEL = 24
MOST_ROWS = 20
STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.facecolor": "none",
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"), INK
    ),
}


@dataclass(frozen=True)
class Picture:
    """One file of a report. `name` is safe in a URL; `text` says in words what a reader who can't see it misses."""

    name: str
    title: str
    text: str
    content: bytes


def in_style(draw: Callable[Arguments, Drawn]) -> Callable[Arguments, Drawn]:
    """Let a function draw in the style of all pictures."""

    @functools.wraps(draw)
    def styled(*arguments: Arguments.args, **named: Arguments.kwargs) -> Drawn:
        import matplotlib as mpl  # noqa: PLC0415  a second that other processes are spared

        with mpl.rc_context(STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # a class named in a script that the font lacks
            return draw(*arguments, **named)

    return styled


class Drawing:
    """A figure under way, of panels side by side; leave it with `svg` or `png`."""

    def __init__(self, *, width: float, height: float, panels: int = 1) -> None:
        from matplotlib.figure import Figure  # noqa: PLC0415  as above

        self.figure: Any = Figure(figsize=(width, height))
        self.panels: list[Any] = [self.figure.add_subplot(1, panels, number + 1) for number in range(panels)]
        self.figure.subplots_adjust(left=0.7 / width, right=1 - 0.2 / width, bottom=0.55 / height, top=1 - 0.4 / height)

    def svg(self, name: str, *, title: str, text: str) -> Picture:
        """Return the figure as SVG."""
        return self._picture(f"{name}.svg", title=title, text=text, metadata={"Date": None, "Creator": None})

    def png(self, name: str, *, title: str, text: str) -> Picture:
        """Return the figure as PNG."""
        return self._picture(f"{name}.png", title=title, text=text, metadata={"Software": None})

    def _picture(self, name: str, *, title: str, text: str, metadata: dict[str, None]) -> Picture:
        import matplotlib as mpl  # noqa: PLC0415  as above

        content = io.BytesIO()
        with mpl.rc_context({"svg.hashsalt": name}):  # ids differ between pictures: they may stand in one page
            self.figure.savefig(content, format=name.rpartition(".")[2], dpi=100, metadata=metadata)
        return Picture(name, title, text, content.getvalue())


def inline(svg: bytes) -> str:
    """Return an SVG file as an element of a page: in the page's own ink, on the page's own paper."""
    element = svg.decode()[svg.index(b"<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    return element.replace(INK, "currentColor").replace(PAPER, "none")


def short(label: str) -> str:
    """Return a class's name, cut where it would not fit."""
    plain = " ".join(label.split())
    return plain if len(plain) <= LONGEST_LABEL else plain[: LONGEST_LABEL - 1] + "…"


def room_for(labels: Sequence[str]) -> float:
    """Return the inches that the longest of the labels takes."""
    return 0.25 + 0.085 * max((len(short(label)) for label in labels), default=0)
