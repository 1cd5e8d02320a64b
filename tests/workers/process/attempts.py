"""Attempts at a job by small programs in the place of the trainer."""

import threading
import time
from collections.abc import Callable

from models_store.jobs import events
from models_store.jobs import store as jobs
from models_store.storage.database import Database

OWNER = "ada"

SPEAK = """
import json, os, signal, sys, time
_, assignment, parent, lifeline, reports = sys.argv
def say(kind, **data):
    os.write(int(reports), json.dumps({"kind": kind, "data": data}).encode() + b"\\n")
RESULT = {"card": {"labels": ["x", "y"]}, "default_variant": "fp32", "defaults": {"cpu": "fp32"}, "variants": [
    {"name": "fp32", "blob": "a" * 64, "size_bytes": 1, "card": {"kind": "fp32"}, "accepted": True}]}
"""

Attempt = Callable[..., str]


def the_job(database: Database) -> jobs.Job:
    return jobs.listing(database, owner=OWNER)[0][0]


def after_a_log_line(database: Database, act: Callable[[], object]) -> threading.Thread:
    """Run `act` in a thread as soon as the trainer has said something."""

    def wait_and_act() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if any(event.kind == "log" for event in events.after(database, the_job(database).id, 0)):
                act()
                return
            time.sleep(0.05)

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def wait_for_a_job_then(database: Database, act: Callable[[], object]) -> threading.Thread:
    def wait() -> None:
        while not jobs.listing(database, owner=OWNER)[0]:
            time.sleep(0.02)
        after_a_log_line(database, act).join()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread
