"""Queue of rows that wait: the most urgent first, in their order within one priority. Its owner locks it."""

from collections import deque

from service.inference.engine import FIRST, LAST
from service.inference.tickets import Row, Ticket


class Waiting:
    """Tickets with rows that no batch has taken yet."""

    def __init__(self) -> None:
        self.rows = 0
        self.requests = 0
        self.size_bytes = 0
        self._tickets: list[deque[Ticket]] = [deque() for _ in range(FIRST, LAST + 1)]

    def __bool__(self) -> bool:
        return self.rows > 0

    def add(self, ticket: Ticket) -> None:
        """Let the rows of a ticket wait that no batch has taken."""
        self._tickets[ticket.priority - FIRST].append(ticket)
        self.rows += len(ticket.examples) - ticket.taken
        self.requests += 1
        self.size_bytes += ticket.size_bytes

    def ahead_of(self, priority: int) -> int:
        """Return how many rows are served before a ticket that comes now."""
        behind = self._tickets[priority - FIRST + 1 :]
        return self.rows - sum(len(ticket.examples) - ticket.taken for queue in behind for ticket in queue)

    def take(self, most: int, *, now_s: float, batch_s: float = 0.0) -> tuple[list[Row], list[Ticket]]:
        """Return up to `most` rows, and the tickets whose time is over: they leave, and no more of them is decoded.

        The batch takes `batch_s`. Who has waited for so long, and has less than that left, would be answered too late.
        """
        rows: list[Row] = []
        expired: list[Ticket] = []
        for queue in self._tickets:
            while queue and len(rows) < most:
                ticket = queue[0]
                if ticket.deadline_s <= now_s + min(batch_s, now_s - ticket.submitted_s):
                    expired.append(ticket)
                    self.withdraw(ticket)
                    continue
                end = min(len(ticket.examples), ticket.taken + most - len(rows))
                rows += [(ticket, index) for index in range(ticket.taken, end)]
                self.rows -= end - ticket.taken
                ticket.taken = end
                if end == len(ticket.examples):
                    queue.popleft()
                    self.requests -= 1
                    self.size_bytes -= ticket.size_bytes
        return rows, expired

    def withdraw(self, ticket: Ticket) -> None:
        """Let the rows of a ticket leave that no batch has taken."""
        ticket.gone = True
        waiting = len(ticket.examples) - ticket.taken
        if not waiting:
            return
        self._tickets[ticket.priority - FIRST].remove(ticket)
        self.rows -= waiting
        self.requests -= 1
        self.size_bytes -= ticket.size_bytes
        ticket.taken = len(ticket.examples)
        ticket.left -= waiting

    def everything(self) -> list[Ticket]:
        """Return all tickets in their order, and forget them."""
        tickets = [ticket for queue in self._tickets for ticket in queue]
        for queue in self._tickets:
            queue.clear()
        self.rows = self.requests = self.size_bytes = 0
        return tickets
