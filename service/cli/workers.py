"""`espalier workers` and `espalier queue`: who does what, and what waits for whom."""

from typing import Annotated, Any

import typer

from service.cli.session import session_of


def workers(context: typer.Context) -> None:
    """List the workers: where they run, what on, and what each does now."""
    from service.cli import worker_tables  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    document = session.client.get("/workers")
    session.show(document, worker_tables.worker_table(document["items"]))


def queue(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=100, help="largest number of jobs to list")] = 20,
) -> None:
    """List your jobs that wait for a worker, in the order in which they are taken, and why each waits."""
    from service.cli import worker_tables  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    document: dict[str, Any] = session.client.get("/queue", limit=limit)
    session.show(document, worker_tables.queue_table(document))
