"""Line 5: the any-size file answers photographs as `POST /predict` does, from Python and from a real browser."""

from benchmarks import browser, portable
from benchmarks.compression_lines.setup import Setup, Shown


def show(setup: Setup) -> Shown:
    """Return how often each pair of ways names the same class first."""
    count = portable.QUICK_PHOTOGRAPHS if setup.quick else portable.PHOTOGRAPHS
    found = portable.agreements(
        setup.photographs, setup.lite0, portable.photographs(setup.archive_of_photographs, count=count)
    )
    shown = Shown()
    for figure, value in found.items():
        if figure.startswith("same top-1"):
            shown.at_least(f"any-size: {figure}", value, goal=1.0)
        else:
            shown.figures[f"any-size: {figure}"] = value
    shown.at_least("any-size: a browser was there to ask", not browser.missing(), goal=1)
    return shown
