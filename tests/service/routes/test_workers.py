"""GET /workers and GET /queue: whose jobs are shown to whom, and what is said of them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from models_store.jobs import claims, workers
from models_store.jobs.claims import Claim
from models_store.storage import tables
from tests import samples
from tests.service.live_service import Service, running

KEYS = {"ada": "a" * 16, "bob": "b" * 16}
CPU = {"kind": "cpu", "name": "a CPU", "cores": 2, "memory_bytes": 1 << 30}


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Service]:
    keys = ",".join(f"{owner}:{key}" for owner, key in KEYS.items())
    with running(
        samples.quick_settings(tmp_path / "home").model_copy(update={"api_keys": keys, "beat_s": 3600})
    ) as live:
        yield live


def as_owner(owner: str) -> dict[str, str]:
    return {"X-API-Key": KEYS[owner]}


def train(service: Service, owner: str) -> str:
    service.http.headers.update(as_owner(owner))
    dataset = service.upload(owner)["id"]
    answer = service.http.post("/train", json={"task": "image_classification", "name": "leaves", "dataset": dataset})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def begin(service: Service) -> Claim:
    claim = claims.claim(service.context.database, settings=service.context.settings, worker_id="wrk_1")
    assert claim is not None
    return claim


def beat(service: Service) -> None:
    workers.beat(service.context.database, "wrk_1", version="1", devices=[CPU], slots=1)


def read(service: Service, path: str, owner: str) -> dict[str, Any]:
    answer = service.http.get(path, headers=as_owner(owner))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_worker_is_shown_with_ones_own_job_and_without_anothers(shared: Service) -> None:
    job = train(shared, "ada")
    beat(shared)
    claim = begin(shared)
    report = ("progress", {"fraction": 0.25, "eta_s": 90.0})
    claims.report(shared.context.database, claim, [("phase", {"phase": "training"}), report])

    (mine,) = read(shared, "/workers", "ada")["items"]
    (theirs,) = read(shared, "/workers", "bob")["items"]

    assert (mine["state"], mine["devices"], mine["last_beat_age_s"] < 60) == ("busy", [CPU], True)
    assert [(each["id"], each["phase"], each["eta_s"]) for each in mine["jobs"]] == [(job, "training", 90.0)]
    assert [(each["id"], each["name"], each["phase"], each["kind"]) for each in theirs["jobs"]] == [
        (None, None, None, "train")
    ]


def test_the_queue_counts_everybodys_jobs_and_shows_ones_own(shared: Service) -> None:
    begun, second, third = train(shared, "ada"), train(shared, "bob"), train(shared, "ada")
    beat(shared)
    claim = begin(shared)
    claims.report(shared.context.database, claim, [("progress", {"fraction": 0.5, "eta_s": 600.0})])
    assert claim.job.id == begun

    mine, theirs = read(shared, "/queue", "ada"), read(shared, "/queue", "bob")

    assert [(each["id"], each["ahead"]) for each in mine["items"]] == [(third, 1)]
    assert [(each["id"], each["ahead"]) for each in theirs["items"]] == [(second, 0)]
    assert (mine["queued"], mine["running"], mine["workers"]) == (2, 1, 1)
    expected = datetime.fromisoformat(theirs["items"][0]["expected_start_at"])
    assert abs(expected - datetime.now(UTC) - timedelta(seconds=600)) < timedelta(seconds=60)
    assert mine["items"][0]["expected_start_at"] is None  # nobody knows how long the one ahead takes
    assert (theirs["items"][0]["why"], mine["items"][0]["why"]) == (
        "it is next, and every worker is busy",
        "1 job is ahead of it",
    )


def test_a_job_without_a_worker_and_one_that_is_put_off_say_so(shared: Service) -> None:
    first, second = train(shared, "ada"), train(shared, "ada")
    with shared.context.database.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == second).values(not_before=4e9))

    alone, put_off = read(shared, "/queue", "ada")["items"]

    assert (alone["id"], alone["why"], alone["expected_start_at"]) == (first, "no worker is there", None)
    assert put_off["why"].startswith("put off for")
    assert put_off["not_before"] is not None


def test_pages_of_the_queue_follow_one_another(shared: Service) -> None:
    made = [train(shared, "ada") for _ in range(3)]

    first = read(shared, "/queue?limit=2", "ada")
    second = read(shared, f"/queue?limit=2&cursor={first['next']}", "ada")

    assert [each["id"] for each in (*first["items"], *second["items"])] == made
    assert second["next"] is None
