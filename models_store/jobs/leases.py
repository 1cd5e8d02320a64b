"""Leases that ran out or whose owner is dead: their jobs are taken back, until a worker proves that it is alive."""

from sqlalchemy import and_, select, update

from models_store.host.processes import Process
from models_store.jobs import events, families, outage_notes
from models_store.jobs.claims import Claim
from models_store.jobs.endings import count_crash, lose_lease
from models_store.jobs.job import COLUMNS, TERMINAL, job_of
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.database import Database, now


def reap(database: Database, *, settings: Settings, grace_s: float = 0.0) -> list[str]:
    """Take back every running job whose lease ran out, or whose owner on this host is dead; return their ids.

    A lease that ran out while its owner lives, stopped or cut off from the database, is no crash. Of an owner on
    another host nothing is known: its crash counts, until it proves to be alive (`disprove_loss`). A lease that ran out
    less than `grace_s` ago is left alone. Any number of processes may do this at the same time.
    """
    job, attempt = tables.job, tables.attempt
    owners = select(job.c.id, attempt.c.host, attempt.c.boot_id, attempt.c.pid, attempt.c.pid_started)
    owners = owners.join(attempt, and_(attempt.c.job_id == job.c.id, attempt.c.fence == job.c.fence)).where(
        job.c.state == "running"
    )
    overdue = (job.c.lease_expires_at < now() - grace_s).label("overdue")
    with database.read() as connection:
        suspects = set(connection.execute(select(job.c.id).where(job.c.state == "running", overdue)).scalars())
        suspects |= {row.id for row in connection.execute(owners) if Process(*row[1:]).is_known_dead()}
    reaped = []
    for job_id in sorted(suspects):
        locked = (
            select(*COLUMNS, overdue)
            .where(job.c.id == job_id, job.c.state == "running")
            .with_for_update(skip_locked=True)
        )
        with database.write() as connection:
            families.lock_parent(connection, job_id)
            row = connection.execute(locked).first()
            if row is None:
                continue
            found = job_of(row[:-1])  # looked at again inside the transaction: another worker may have it by now
            owner = Process(*connection.execute(owners.where(job.c.id == job_id)).one()[1:])
            if owner.is_known_dead() and outage_notes.is_noted(settings, job_id, found.fence):
                lose_lease(connection, found, reason="its worker left while the database did not answer")
            elif owner.is_known_dead():
                count_crash(connection, found, settings=settings, reason="its worker process is gone")
            elif not row.overdue:
                continue
            elif owner.is_known_alive():
                lose_lease(connection, found, reason="its worker is stopped, or could not reach the database")
            else:
                reason = "its worker stopped sending heartbeats"
                count_crash(connection, found, settings=settings, reason=reason, outcome="lost")
            reaped.append(job_id)
    return reaped


def disprove_loss(database: Database, claim: Claim) -> bool:
    """Take back the crash that was counted when this claim's lease ran out: its worker is alive, and says so.

    Return whether there was one. A job that has ended by it stays as it is.
    """
    job, attempt = tables.job, tables.attempt
    mine = (attempt.c.job_id == claim.job.id, attempt.c.fence == claim.fence, attempt.c.outcome == "lost")
    with database.write() as connection:
        if not connection.execute(update(attempt).where(*mine).values(outcome="lost_lease")).rowcount:
            return False
        going_on = (job.c.id == claim.job.id, job.c.crashes > 0, job.c.state.not_in(TERMINAL))
        if connection.execute(update(job).where(*going_on).values(crashes=job.c.crashes - 1)).rowcount:
            text = (
                f"the worker of attempt {claim.attempt} is alive, so the loss of its lease no longer counts as a crash"
            )
            events.append(connection, claim.job.id, "log", {"text": text, "attempt": claim.attempt})
    return True
