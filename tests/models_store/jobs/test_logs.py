"""What a job's log keeps: printable lines of bounded length, and of a long log its first and its newest ones."""

import pytest

from models_store.jobs import claims, events, logs, submissions
from models_store.jobs.claims import Claim
from models_store.settings import Settings
from models_store.storage.database import Database
from tests.samples import a_train_spec, insert_dataset

OWNER = "ada"


@pytest.fixture
def claim(database: Database, settings: Settings) -> Claim:
    insert_dataset(database, owner=OWNER)
    submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    return claim


def write(database: Database, claim: Claim, texts: list[str]) -> None:
    claims.report(database, claim, [("log", {"text": text, "attempt": 1}) for text in texts])


def kept(database: Database, claim: Claim) -> list[str]:
    page = logs.page(database, claim.job.id, kind="train", after=0, limit=20_000)
    return [line.message for line in page.lines][2:]  # after those on its state


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("\x1b[1;31mred\x1b[0m alert\x1b]0;title\x07", ["red alert"]),
        ("10 %\r 50 %\r100 %\n", ["100 %"]),
        ("one\r\n\r\n  two\x00\x07\x1b\n", ["one", "  two"]),
        ("a\tb\u202egnp.exe\u2028c", ["a    bgnp.exec"]),
        ("x" * 2001, ["x" * 2000 + " … (1 more character)"]),
        ("x" * 2500, ["x" * 2000 + " … (500 more characters)"]),
        ("to postgresql://me:secret@db/x and s3://k@b", ["to postgresql://…@db/x and s3://…@b"]),
        ("über 日本 😀", ["über 日本 😀"]),
        ("\x1b[", []),
    ],
)
def test_only_what_can_be_shown_is_kept(text: str, lines: list[str]) -> None:
    assert logs.clean(text) == lines


def test_of_a_long_log_the_middle_is_left_out_and_a_line_says_how_much(database: Database, claim: Claim) -> None:
    for start in range(0, 10_500, 2100):
        write(database, claim, [f"line {number}" for number in range(start, start + 2100)])

    lines, characters = logs.trim(database, claim.job.id)
    found = kept(database, claim)

    assert found[:2000] == [f"line {number}" for number in range(2000)]
    assert found[2000] == "2,500 lines are left out here: a job keeps its first and its newest lines"
    assert found[2001:] == [f"line {number}" for number in range(4500, 10_500)]
    assert (lines, len(found)) == (8001, 8001)
    assert characters < logs.MOST_KEPT


def test_what_was_left_out_before_is_counted_again(database: Database, claim: Claim) -> None:
    write(database, claim, ["first " + "x" * 1500] * 700)
    logs.trim(database, claim.job.id)
    write(database, claim, ["second " + "x" * 1500] * 700)

    logs.trim(database, claim.job.id)
    found = kept(database, claim)

    left_out = [line for line in found if "left out" in line]
    assert len(left_out) == 1
    assert int(left_out[0].split()[0].replace(",", "")) + len(found) - 1 == 1400
    assert found[0].startswith("first")
    assert found[-1].startswith("second")
    assert sum(map(len, found)) < logs.MOST_KEPT


def test_readers_of_events_go_on_where_the_middle_is_left_out(database: Database, claim: Claim) -> None:
    write(database, claim, ["x" * 2000] * 600)
    newest = events.page(database, claim.job.id, 0, limit=1)

    logs.trim(database, claim.job.id)
    rest = events.after(database, claim.job.id, 102)

    assert newest is not None
    assert rest[-1].seq == newest.newest
    assert 200 < len(rest) < 600


def test_attempts_are_counted_from_one_however_they_ended(database: Database, settings: Settings, claim: Claim) -> None:
    quick = settings.model_copy(update={"backoff_s": 0.001})
    claims.crash(database, claim, settings=quick, reason="it was hit")
    second = claims.claim(database, settings=settings)
    assert second is not None
    claims.release(database, second)
    third = claims.claim(database, settings=settings)

    assert third is not None
    assert (claim.attempt, second.attempt, third.attempt) == (1, 2, 3)
    begun = [event.data.get("attempt") for event in events.after(database, claim.job.id, 0, kinds=("state",))]
    assert [attempt for attempt in begun if attempt] == [1, 2, 3]


def test_a_familys_log_tells_of_its_children_and_not_of_its_steps() -> None:
    told = [
        ("state", {"state": "queued"}),
        ("state", {"state": "running", "attempt": 1}),
        ("phase", {"phase": "trials"}),
        ("state", {"state": "waiting"}),
        ("child", {"kind": "trial", "number": 0, "state": "succeeded", "value": 0.91234, "pruned": True}),
        ("state", {"state": "queued", "reason": "a child has ended"}),
        ("state", {"state": "running", "attempt": 2}),
        ("child", {"kind": "trial", "number": 1, "state": "failed", "problem": "it diverged"}),
        ("state", {"state": "queued", "reason": "its worker process is gone", "retry_in_s": 10.0}),
        ("state", {"state": "succeeded", "result": {"model": "leaves", "version": 3}}),
    ]
    lines = logs.Lines(kind="search")

    found = [lines.of(events.Event(seq, kind, data, 0.0)) for seq, (kind, data) in enumerate(told, 1)]

    assert [(line.level, line.message) for line in found if line is not None] == [
        ("info", "queued"),
        ("info", "trial 0 succeeded: 0.9123, stopped early"),
        ("warning", "trial 1 failed: it diverged"),
        ("warning", "attempt 2 ended: its worker process is gone; it will be tried again in 10 s"),
        ("info", "succeeded: leaves:3"),
    ]
