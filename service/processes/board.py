"""Counters that the API processes of a host share: a page of memory in which every number has one writer."""

import mmap
from enum import IntEnum

ROW_BYTES = 64  # one line of the processors' caches: processes that count do not slow one another down


class Column(IntEnum):
    """Number of a process, written by this process alone."""

    PID = 0
    """its pid while it can take connections, else 0"""
    CLOSED = 1
    """connections that were handed to it and have ended"""
    CHANGES = 2
    """changes that it made to what references mean"""
    REFRESHED = 3
    """how often it has brought its gauges up to date"""
    HANDED = 4
    """connections that were handed to it; the parent writes this"""
    PROVIDER = 5
    """number of the execution provider that the owner has found"""
    MOVED = 6
    """connections that it has taken over from other processes"""


class Board:
    """A row of numbers for every process; processes forked later see the same memory."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._numbers = memoryview(mmap.mmap(-1, processes * ROW_BYTES)).cast("Q")
        self._row = ROW_BYTES // self._numbers.itemsize

    def read(self, process: int, column: Column) -> int:
        """Return a number of a process."""
        return self._numbers[process * self._row + column]

    def write(self, process: int, column: Column, number: int) -> None:
        """Write a number of a process."""
        self._numbers[process * self._row + column] = number

    def increase(self, process: int, column: Column) -> None:
        """Count one more in a row of one's own."""
        self._numbers[process * self._row + column] += 1

    def total(self, column: Column) -> int:
        """Return the sum of a column."""
        return sum(self._numbers[column :: self._row])

    def connections(self, process: int) -> int:
        """Return how many connections a process has."""
        taken = self.read(process, Column.HANDED) + self.read(process, Column.MOVED)
        return taken - self.read(process, Column.CLOSED)

    def pids(self) -> list[tuple[int, int]]:
        """Return the number and the pid of every process that can take connections."""
        return [(process, pid) for process in range(self.processes) if (pid := self.read(process, Column.PID))]
