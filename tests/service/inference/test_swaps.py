"""Aliases that move under load: no request fails, none gets the old file afterwards, and a bad file does not answer."""

import asyncio
import base64
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from models_store.models import aliases
from models_store.models.golden import Golden
from models_store.models.served import Served
from service.inference.engine import Answer, Overloaded, Work
from service.inference.sessions import Sessions
from tests import samples
from tests.service.live_service import Service, a_plain_image, problem_of, running
from tests.service.metric_series import read
from tests.service.onnx_files import expected_probabilities, write_colour_net

COLOURS = ((0, 250, 0), (200, 10, 30), (5, 5, 240))
ANSWERS = 40
"""after each swap, of requests that began after it"""
IMAGE = a_plain_image(COLOURS[0])


def golden_of(folder: Path, *, wrong: int | None = None) -> Path:
    """Write golden inputs of the colour net; the one at `wrong` has another answer than the net's."""
    outputs = [[float(each) for each in expected_probabilities(colour)] for colour in COLOURS]
    if wrong is not None:
        outputs[wrong] = outputs[wrong][::-1]
    return Golden(tuple(a_plain_image(colour) for colour in COLOURS), {"fp32": outputs}).write(folder / "golden.json")


def publish(service: Service, folder: Path, name: str, *, version: int, **given: Any) -> int:
    folder.mkdir(exist_ok=True)
    path = write_colour_net(folder / f"{name}-{version}.onnx", name=f"{name}-{version}")
    return service.publish(name, path, **given)


def point(service: Service, name: str, **body: Any) -> dict[str, Any]:
    answer = service.http.put(f"/models/{name}/aliases/live", json=body).raise_for_status()
    return dict(answer.json())


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(samples.quick_settings(tmp_path_factory.mktemp("swaps") / "home", poll_s=0.2)) as live:
        yield live


def test_a_swap_under_load_fails_no_request_and_no_answer_after_it_is_of_the_old_version(
    service: Service, tmp_path: Path
) -> None:
    for version in (1, 2):
        publish(service, tmp_path, "busy", version=version, golden=golden_of(tmp_path))
    point(service, "busy", version=1)
    stop = asyncio.Event()
    answers: list[tuple[float, float, int, int]] = []

    async def ask(client: httpx.AsyncClient) -> None:
        loop = asyncio.get_running_loop()
        body = {"model": "busy@live", "inputs": [base64.b64encode(IMAGE).decode()]}
        while not stop.is_set():
            began = loop.time()
            answer = await client.post("/predict", json=body)
            version = answer.json().get("version") if answer.status_code == 200 else None
            answers.append((began, loop.time(), answer.status_code, version))

    async def enough_since(time_s: float) -> None:
        while sum(began >= time_s for began, *_ in answers) < ANSWERS:  # noqa: ASYNC110  the crowd sets no event
            await asyncio.sleep(0.01)

    async def swap_under_load() -> list[tuple[float, float, int]]:
        loop = asyncio.get_running_loop()
        moved = []
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(base_url=service.url, timeout=60, limits=limits) as client:
            crowd = [asyncio.create_task(ask(client)) for _ in range(32)]
            await enough_since(loop.time())
            for version in (2, 1, 2):
                began = loop.time()
                async with httpx.AsyncClient(base_url=service.url, timeout=60) as other:
                    swapped = await other.put("/models/busy/aliases/live", json={"version": version})
                assert swapped.status_code == 200, swapped.text
                moved.append((began, loop.time(), version))
                await enough_since(moved[-1][1])
            stop.set()
            await asyncio.gather(*crowd)
        return moved

    moved = asyncio.run(swap_under_load())

    assert {status for _, _, status, _ in answers} == {200}
    until = [*(began for began, _, _ in moved[1:]), float("inf")]
    between = [
        (version, answered)
        for (_, moved_at, version), end in zip(moved, until, strict=True)
        for began, ended, _, answered in answers
        if began >= moved_at and ended <= end
    ]
    assert [each for each in between if each[0] != each[1]] == []
    assert {version for version, _ in between} == {1, 2}
    assert len(between) >= 3 * ANSWERS


def test_what_was_checked_is_in_the_answer(service: Service, tmp_path: Path) -> None:
    publish(service, tmp_path, "checked", version=1, golden=golden_of(tmp_path))
    publish(service, tmp_path, "checked", version=2)

    with_inputs = point(service, "checked", version=1)["checks"]
    without = point(service, "checked", version=2)["checks"]

    assert [(each["golden_inputs"], each["tolerance"]) for each in with_inputs] == [(3, 0.001)]
    assert with_inputs[0]["largest_difference"] < 1e-5
    assert with_inputs[0]["provider"] == "CPUExecutionProvider"
    assert [(each["golden_inputs"], each["largest_difference"]) for each in without] == [(0, None)]


def test_a_file_that_answers_differently_than_when_it_was_published_does_not_get_the_alias(
    service: Service, tmp_path: Path
) -> None:
    publish(service, tmp_path, "changed", version=1, golden=golden_of(tmp_path))
    publish(service, tmp_path, "changed", version=2, golden=golden_of(tmp_path, wrong=1))
    point(service, "changed", version=1)

    refused = service.http.put("/models/changed/aliases/live", json={"version": 2})

    problem = problem_of(refused, 409, "alias_check_failed")
    assert problem["errors"][0]["pointer"] == "/golden/1"
    assert "1 of 3 answers differ" in problem["detail"]
    assert service.http.get("/models/changed/aliases/live").json()["version"] == 1


def test_the_old_file_leaves_memory_once_no_alias_names_it(service: Service, tmp_path: Path) -> None:
    for version in (1, 2):
        publish(service, tmp_path, "leaving", version=version)
    blobs = {
        version: service.context.references.resolve(f"leaving:{version}", owner="local").blob for version in (1, 2)
    }
    point(service, "leaving", version=1)

    point(service, "leaving", version=2)

    assert blobs[1] not in service.context.sessions.files
    assert blobs[2] in service.context.sessions.files


def test_a_pinned_alias_keeps_its_files_and_refuses_their_unloading(service: Service, tmp_path: Path) -> None:
    publish(service, tmp_path, "pinned", version=1)

    answer = point(service, "pinned", version=1, pinned=True)

    assert answer["pinned"] is True
    assert becomes_pinned(service, "pinned:1")


def test_a_full_queue_is_waited_for_and_no_fault_of_the_file(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(service, tmp_path, "full", version=1, golden=golden_of(tmp_path))
    infer, refused = Sessions.infer, []

    async def busy(sessions: Sessions, served: Served, work: Work) -> Answer:
        if len(refused) < 2:
            refused.append(served.name)
            raise Overloaded("2 images wait, and 2 may", retry_after_s=1)
        return await infer(sessions, served, work)

    monkeypatch.setattr(Sessions, "infer", busy)

    answer = point(service, "full", version=1)

    assert len(refused) == 2
    assert answer["targets"][0]["version"] == 1


def becomes_pinned(service: Service, reference: str) -> bool:
    blob = service.context.references.resolve(reference, owner="local").blob
    for _ in range(100):
        if blob in service.context.sessions.residents.pinned:
            return True
        asyncio.run(asyncio.sleep(0.05))
    return False


def test_a_round_of_the_upkeep_that_fails_is_not_the_last(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()

    def broken(_: Any) -> Any:
        failed.set()
        raise ValueError("nobody has foreseen this")

    with monkeypatch.context() as patch:
        patch.setattr(aliases, "pinned", broken)
        assert failed.wait(30)
    publish(service, tmp_path, "kept", version=1)
    point(service, "kept", version=1, pinned=True)

    assert becomes_pinned(service, "kept:1")


def test_the_targets_of_an_alias_share_its_requests_by_their_weights(service: Service, tmp_path: Path) -> None:
    for version in (1, 2):
        publish(service, tmp_path, "shared", version=version)
    targets = [{"version": 1, "weight": 3}, {"version": 2, "weight": 1}]

    answer = point(service, "shared", targets=targets)
    versions = [
        service.http.post("/predict", params={"model": "shared@live"}, content=IMAGE, headers=OCTETS).json()["version"]
        for _ in range(200)
    ]

    assert [(each["version"], each["share"]) for each in answer["targets"]] == [(1, 0.75), (2, 0.25)]
    assert 20 <= versions.count(2) <= 85  # 50 are expected; this fails once in a million runs
    assert set(versions) == {1, 2}


def test_requests_with_one_key_stay_with_one_target_in_every_protocol(service: Service, tmp_path: Path) -> None:
    for version in (1, 2):
        publish(service, tmp_path, "sticky", version=version)
    point(service, "sticky", targets=[{"version": 1, "weight": 1}, {"version": 2, "weight": 1}])
    tensor = {"name": "images", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(IMAGE).decode()]}

    def answered(key: str) -> tuple[int, int]:
        headers = {"X-Canary-Key": key}
        plain = service.http.post(
            "/predict", params={"model": "sticky@live"}, content=IMAGE, headers=OCTETS | headers
        ).json()
        by_protocol = service.http.post("/v2/models/sticky@live/infer", json={"inputs": [tensor]}, headers=headers)
        return plain["version"], int(by_protocol.raise_for_status().json()["model_version"])

    users = {f"user {number}": answered(f"user {number}") for number in range(24)}
    again = {key: answered(key) for key in users}

    assert again == users
    assert all(one == other for one, other in users.values())
    assert {version for version, _ in users.values()} == {1, 2}  # all of 24 alike: once in eight million


def test_a_key_that_is_empty_or_too_long_is_refused(service: Service, tmp_path: Path) -> None:
    publish(service, tmp_path, "keyed", version=1)
    where = {"model": "keyed"}

    for key in ("", "k" * 201):
        refused = service.http.post("/predict", params=where, content=IMAGE, headers=OCTETS | {"X-Canary-Key": key})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "header:X-Canary-Key")


def test_an_empty_variant_is_refused(service: Service, tmp_path: Path) -> None:
    publish(service, tmp_path, "nameless", version=1)

    refused = service.http.put("/models/nameless/aliases/live", json={"version": 1, "variant": ""})

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/variant"


OCTETS = {"Content-Type": "application/octet-stream"}
AGREED = {"outcome": "agreed"}


def test_a_shadow_is_compared_and_answers_nobody(service: Service, tmp_path: Path) -> None:
    publish(service, tmp_path, "shadowed", version=1)
    shifted = write_colour_net(tmp_path / "shifted.onnx", name="shifted", size=16)
    service.publish("shadowed", shifted)
    point(service, "shadowed", version=1, shadow={"version": 2, "share": 1.0})

    versions = set()
    for _ in range(50):
        asked = service.http.post("/predict", params={"model": "shadowed@live"}, content=IMAGE, headers=OCTETS)
        versions.add(asked.json()["version"])
        counted = service.http.get("/models/shadowed/aliases/live").json()["shadow"]
        if counted["compared"]:
            break
        asyncio.run(asyncio.sleep(0.1))

    assert versions == {1}
    assert counted["compared"] > 0
    assert (counted["agreement"], counted["failed"]) == (1.0, 0)
    assert counted["run_ms"] > 0
    labels = {"owner": "local", "model": "shadowed", "alias": "live", "version": "2"}
    found = read(service)
    agreed = [value for given, value in found["espalier_shadow_examples_total"] if given == labels | AGREED]
    assert agreed[0] >= counted["compared"]
    assert next(value for given, value in found["espalier_shadow_run_seconds_count"] if given == labels) > 0


def test_counts_of_shadows_outlast_a_database_that_does_not_answer(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("first", "second")
    for name in names:
        for version in (1, 2):
            publish(service, tmp_path, name, version=version)
        point(service, name, version=1, shadow={"version": 2, "share": 1.0})
    tried: set[str] = set()

    def no_answer(_database: Any, name: str, *_: Any, **__: Any) -> None:
        tried.add(name)
        raise OperationalError("", {}, Exception())

    with monkeypatch.context() as patched:
        patched.setattr(aliases, "count", no_answer)
        for name in names:
            where = {"model": f"{name}@live"}
            service.http.post("/predict", params=where, content=IMAGE, headers=OCTETS).raise_for_status()
        asyncio.run(asyncio.sleep(1))
    asyncio.run(asyncio.sleep(1))

    shadows = [service.http.get(f"/models/{name}/aliases/live").json()["shadow"] for name in names]
    assert tried
    assert [each["compared"] + each["dropped"] for each in shadows] == [1, 1]


def test_a_shadow_is_not_asked_for_the_copies_of_an_explanation(service: Service, tmp_path: Path) -> None:
    for version in (1, 2):
        publish(service, tmp_path, "explained", version=version)
    point(service, "explained", version=1, shadow={"version": 2, "share": 1.0})
    where = {"model": "explained@live", "explain": "true"}

    service.http.post("/predict", params=where, content=IMAGE, headers=OCTETS).raise_for_status()
    for _ in range(50):
        counted = service.http.get("/models/explained/aliases/live").json()["shadow"]
        if counted["compared"] + counted["dropped"]:
            break
        asyncio.run(asyncio.sleep(0.1))
    asyncio.run(asyncio.sleep(0.5))
    counted = service.http.get("/models/explained/aliases/live").json()["shadow"]

    assert counted["compared"] + counted["dropped"] == 1


def test_a_shadow_has_the_labels_of_every_target(service: Service, tmp_path: Path) -> None:
    for version, labels in ((1, ["red", "green", "blue"]), (2, ["red", "green", "violet"]), (3, None)):
        publish(service, tmp_path, "mixed", version=version, **({"labels": labels} if labels else {}))
    targets = [{"version": 1, "weight": 1.0}, {"version": 2, "weight": 1.0}]

    refused = service.http.put(
        "/models/mixed/aliases/live", json={"targets": targets, "shadow": {"version": 3, "share": 1.0}}
    )
    without = service.http.put("/models/mixed/aliases/live", json={"targets": targets})

    problem = problem_of(refused, 422, "alias_target_unfit")
    assert problem["errors"][0]["pointer"] == "/shadow/version"
    assert "mixed:2/fp32" in problem["detail"]
    assert without.status_code == 200


def test_a_shadow_of_other_labels_is_refused(service: Service, tmp_path: Path) -> None:
    publish(service, tmp_path, "odd", version=1)
    publish(service, tmp_path, "odd", version=2, labels=["red", "green", "violet"])

    refused = service.http.put("/models/odd/aliases/live", json={"version": 1, "shadow": {"version": 2, "share": 0.5}})

    problem = problem_of(refused, 422, "alias_target_unfit")
    assert problem["errors"][0]["pointer"] == "/shadow/version"
