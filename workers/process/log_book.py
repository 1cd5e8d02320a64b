"""Log of a job on its way from the trainer to the store: cleaned, without places of this host, and bounded."""

import re
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models_store.jobs import logs
from models_store.jobs.claims import Claim
from models_store.jobs.logs import Level
from models_store.settings import Settings
from models_store.storage.database import Database
from models_store.wording import inflected

LINES_A_SECOND, AT_ONCE = 20, 500
"""lines that a trainer may write for long, and in a burst"""
PLACE = re.compile(r"(?<![\w:/.~-])/(?:[^\s/\"':,()\[\]]+/)+")

Report = tuple[str, dict[str, Any]]


class LogBook:
    """Lines of one attempt. They are reports, to be written with the trainer's others."""

    def __init__(self, database: Database, claim: Claim, *, settings: Settings, clock: Callable[[], float]) -> None:
        self._database, self._claim, self._clock = database, claim, clock
        self._places = _places(settings)
        self._room, self._counted_at = float(AT_ONCE), clock()
        self._left_out = 0
        self._kept: tuple[int, int] | None = None  # lines and characters in the store; None: not counted yet

    def take(self, data: dict[str, Any]) -> list[Report]:
        """Return what is written of a line, or of several, that the trainer has reported."""
        stage, level = data.get("stage"), data.get("level", "info")
        reported: list[Report] = []
        for text in logs.clean(self._without_places(str(data["text"]))):
            if not self._has_room():
                self._left_out += 1
                continue
            reported += [*self.rest(), self._line(text, level=level, stage=stage)]
        return reported

    def printed(self, text: str, *, stage: str) -> list[Report]:
        """Return what is written of the last that a trainer printed before it died."""
        shown = PLACE.sub("…/", self._without_places(text))
        return [*self.rest(), *(self._line(each, level="error", stage=stage) for each in logs.clean(shown))]

    def rest(self) -> list[Report]:
        """Return the line that says how many were left out, if any were."""
        if not self._left_out:
            return []
        lines = f"{self._left_out:,} {inflected(self._left_out, 'line is', 'lines are')}"
        text = f"{lines} left out here: there were more than {LINES_A_SECOND} per second"
        self._left_out = 0
        return [self._line(text, level="warning", stage=None)]

    def written(self, reports: list[Report]) -> None:
        """Count what is in the store now, and leave out the middle of a log that has become too long."""
        sizes = [len(data["text"]) for kind, data in reports if kind == "log"]
        if not sizes:
            return
        if self._kept is None:
            self._kept = logs.kept(self._database, self._claim.job.id)
        else:
            self._kept = (self._kept[0] + len(sizes), self._kept[1] + sum(sizes))
        if self._kept[0] > logs.MOST_LINES or self._kept[1] > logs.MOST_KEPT:
            self._kept = logs.trim(self._database, self._claim.job.id)

    def _line(self, text: str, *, level: Level, stage: str | None) -> Report:
        return "log", {"text": text, "level": level, "stage": stage, "attempt": self._claim.attempt}

    def _has_room(self) -> bool:
        moment = self._clock()
        self._room = min(AT_ONCE, self._room + (moment - self._counted_at) * LINES_A_SECOND)
        self._counted_at = moment
        if self._room < 1:
            return False
        self._room -= 1
        return True

    def _without_places(self, text: str) -> str:
        for place, shown in self._places:
            text = text.replace(place, shown)
        return text


def _places(settings: Settings) -> list[tuple[str, str]]:
    """Return the folders of this host that traces and messages name, and what stands for each; the longest first."""
    paths = sysconfig.get_paths()
    ours = Path(__file__).resolve().parents[2]
    own = (settings.scratch, settings.espalier_home, settings.espalier_home.resolve())
    folders = (paths["purelib"], paths["stdlib"], sys.prefix, sys.base_prefix, ours, *own)
    found = {f"{folder}/": "" for folder in map(str, folders) if folder != "/"}
    home = f"{Path.home()}/"
    shown = found | ({} if home in {*found, "//"} else {home: "~/"})
    return sorted(shown.items(), key=lambda each: -len(each[0]))
