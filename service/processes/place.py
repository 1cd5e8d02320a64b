"""Place of this process among the API processes of its host."""

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.processes.board import Board, Column
from service.processes.inbox import Inbox, Kind

OWNER = 0
LARGEST_SHARE_OF_FRONTS, FRONTS_OF_LARGEST = 0.25, 4
"""Share of the memory for models that all fronts have together, if they are at least so many; fewer have less."""
REFRESH_S = 0.1
"""Longest wait for the gauges of the other processes; those of a process that is busy for longer are older."""


@dataclass(frozen=True)
class Place:
    """Number of this process and what it shares with the others; the default is a process that is alone.

    The *owner* (number 0) runs what exists once per host: large models, the GPU, migrations, the housekeeper. The
    others, the *fronts*, answer everything else themselves.
    """

    number: int = OWNER
    board: Board = field(default_factory=lambda: Board(1))
    inboxes: Sequence[Inbox] = ()
    metrics_folder: Path | None = None
    """folder of the counters of all processes; None: the process is alone"""

    @property
    def is_owner(self) -> bool:
        """Return whether this process runs what exists once per host."""
        return self.number == OWNER

    @property
    def inbox(self) -> Inbox:
        """Return the inbox of this process, which is not alone."""
        return self.inboxes[self.number]

    @property
    def share_of_models(self) -> float:
        """Return this process's share of the memory for models: the fronts have copies of small ones alone."""
        fronts = self.board.processes - 1
        of_a_front = LARGEST_SHARE_OF_FRONTS / max(fronts, FRONTS_OF_LARGEST)
        return 1.0 - fronts * of_a_front if self.is_owner else of_a_front

    @property
    def owner_is_there(self) -> bool:
        """Return whether the owner of large models takes requests; a process that is alone is its own."""
        return self.is_owner or bool(self.board.read(OWNER, Column.PID))

    def give_to_owner(self, connection: socket.socket) -> bool:
        """Give a client's connection to the owner; return whether it will serve it."""
        if self.is_owner or not self.owner_is_there:
            return False
        return self.inboxes[OWNER].send(Kind.MOVED, connection)

    def tell_others(self, kind: Kind, text: str) -> None:
        """Send a message to every other process; one whose inbox is full does not get it."""
        for number, inbox in enumerate(self.inboxes):
            if number != self.number:
                inbox.send(kind, text=text)

    @property
    def owners_provider(self) -> int:
        """Return the number of the execution provider that the owner has found."""
        return self.board.read(OWNER, Column.PROVIDER)

    def tell_provider(self, number: int) -> None:
        """Let the fronts know which execution provider the owner has found."""
        self.board.write(OWNER, Column.PROVIDER, number)

    def changes(self) -> int:
        """Return a number that grows whenever a process of this host changes what references mean."""
        return self.board.total(Column.CHANGES)

    def note_change(self) -> None:
        """Let every process of this host know that references may mean something else now."""
        self.board.increase(self.number, Column.CHANGES)

    def have_refreshed(self) -> None:
        """Let the other processes know that the gauges of this one are up to date."""
        self.board.increase(self.number, Column.REFRESHED)

    def refresh_others(self) -> None:
        """Ask the other processes to bring their gauges up to date, and wait for them. Use in a thread."""
        others = [each for each in range(len(self.inboxes)) if each != self.number]
        before = {each: self.board.read(each, Column.REFRESHED) for each in others if self.board.read(each, Column.PID)}
        asked = [each for each in before if self.inboxes[each].send(Kind.REFRESH)]
        deadline = time.monotonic() + REFRESH_S
        while time.monotonic() < deadline and any(
            self.board.read(each, Column.REFRESHED) == before[each] for each in asked
        ):
            time.sleep(0.001)
