"""Several real API processes behind one port: balanced, replaced, counted together, and ended together."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.hot.connection import MOVED_AFTER
from service.processes.place import OWNER
from tests import samples
from tests.processes import is_alive
from tests.service import onnx_files
from tests.service.live_service import a_plain_image
from tests.service.prediction_requests import GREEN
from tests.service.processes.live_group import PATIENCE_S, Group, predict, running

PROCESSES = 3
LARGE = {"input": {"size": 256, "channels": 3, "fit": "crop"}}


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with running(tmp_path_factory.mktemp("group") / "home", processes=PROCESSES) as live:
        yield live


@pytest.mark.parametrize("count", [8, 32, 64])
def test_no_process_has_more_connections_than_another(group: Group, count: int) -> None:
    with group.clients(count):
        connections = group.figures("espalier_connections")

    assert sum(connections) > count  # one reads the metrics
    assert max(connections) - count / PROCESSES <= 2


def test_a_killed_front_is_replaced_and_no_connection_of_another_process_fails(group: Group) -> None:
    with group.clients(9) as clients:
        before = group.pids

        group.kill("api-front-1")
        failed = 0
        for client in clients:
            try:
                client.get("/health/live").raise_for_status()
            except httpx.HTTPError:
                failed += 1

        assert failed <= 9 / PROCESSES + 2  # those of the killed process
        group.wait_for(PROCESSES)
        after = group.pids
        assert after.keys() == before.keys()
        assert [name for name in after if after[name] != before[name]] == ["api-front-1"]
        with group.clients(9):
            pass


def test_new_connections_work_while_a_front_is_replaced(group: Group) -> None:
    group.kill("api-front-2")

    with group.clients(6) as clients:
        assert {client.get("/health/live").status_code for client in clients} == {200}
    group.wait_for(PROCESSES)


def test_counters_add_up_over_processes_and_outlive_them(group: Group) -> None:
    name = 'espalier_requests_total{method="GET",route="/schema/train",status="200"}'

    def count() -> float:
        return sum(float(line.rpartition(" ")[2]) for line in group.metrics().splitlines() if line.startswith(name))

    with group.clients(9) as clients:
        before = count()
        for client in clients:
            client.get("/schema/train").raise_for_status()
        assert count() == before + 9
    group.kill("api-front-1")
    group.wait_for(PROCESSES)

    assert count() == before + 9


def port_of(client: httpx.Client) -> int:
    """Return the port of the client's side of its connection."""
    stream = client.get("/health/live").extensions["network_stream"]
    return int(stream.get_extra_info("client_addr")[1])


def loaded(group: Group) -> float:
    return sum(group.figures("espalier_loaded_models"))


def test_a_large_model_is_loaded_once_and_answers_the_same_from_every_process(group: Group, tmp_path: Path) -> None:
    group.service.publish("large", onnx_files.write_colour_net(tmp_path / "net.onnx", size=256, rounds=30), **LARGE)
    image = a_plain_image(GREEN)
    before = loaded(group)

    with group.clients(9) as clients:
        answers = [predict(client, image, "large") for client in clients for _ in range(3)]

    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["predictions"][0]["label"] == "green"
    assert loaded(group) == before + 1


def test_connections_that_ask_for_a_slow_model_again_and_again_move_to_its_process(
    group: Group, tmp_path: Path
) -> None:
    group.service.publish("slow", onnx_files.write_colour_net(tmp_path / "net.onnx", size=256, rounds=40), **LARGE)
    image = a_plain_image(GREEN)

    with group.clients(6) as clients:
        before = group.figures("espalier_connections")
        answers = [predict(client, image, "slow") for _ in range(3 + MOVED_AFTER) for client in clients]
        group.wait_until(lambda: max(group.figures("espalier_connections")[1:]) <= 1)
        after = group.figures("espalier_connections")
        answers += [predict(client, image, "slow") for client in clients]

    assert max(before) <= 4
    assert after[OWNER] >= 6
    assert all(answer == answers[0] for answer in answers)
    group.wait_until(lambda: sum(group.figures("espalier_connections")) <= 2)


def test_a_connection_that_has_moved_may_rest_longer_than_a_head_may_take(tmp_path: Path) -> None:
    with running(tmp_path / "home", processes=2, header_timeout_s=1) as group, group.clients(4) as clients:
        net = onnx_files.write_colour_net(tmp_path / "net.onnx", size=256, rounds=40)
        group.service.publish("slow", net, **LARGE)
        image = a_plain_image(GREEN)
        for _ in range(3 + MOVED_AFTER):
            for client in clients:
                predict(client, image, "slow")
        group.wait_until(lambda: group.figures("espalier_connections")[OWNER] >= 4)

        time.sleep(1.5)
        ports = [port_of(client) for client in clients]
        for client in clients:
            predict(client, image, "slow")

        assert [port_of(client) for client in clients] == ports


def test_every_process_has_a_copy_of_a_small_model_and_answers_the_same(group: Group, tmp_path: Path) -> None:
    group.service.publish("small", onnx_files.write_colour_net(tmp_path / "net.onnx"))
    image = a_plain_image(GREEN)
    before = loaded(group)

    with group.clients(9) as clients:
        first = predict(clients[0], image, "small")
        group.wait_until(
            lambda: (
                [predict(client, image, "small") == first for client in clients] == [True] * 9
                and loaded(group) == before + PROCESSES
            )
        )


def test_a_model_is_loaded_and_unloaded_through_any_process(group: Group, tmp_path: Path) -> None:
    group.service.publish("ordered", onnx_files.write_colour_net(tmp_path / "net.onnx", size=256, rounds=29), **LARGE)
    before = loaded(group)
    path = "/models/ordered/versions/1/variants/fp32"

    with group.clients(3) as clients:
        for client in clients:
            there = client.post(f"{path}:load").raise_for_status().json()
            assert (there["loaded"], there["provider"]) == (True, "CPUExecutionProvider")
            assert loaded(group) == before + 1
            for other in clients:
                assert other.get(f"{path}/memory").json() == there
                metadata = other.get("/v2/models/ordered").json()["properties"]
                assert (metadata["provider"], metadata["loaded"]) == ("CPUExecutionProvider", "true")
            clients[0].post("/v2/repository/models/ordered/unload").raise_for_status()
            group.wait_until(lambda: loaded(group) == before)
            assert client.get(f"{path}/memory").json()["loaded"] is False


def test_an_order_for_a_model_that_does_not_load_is_refused_by_every_process(group: Group, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(b"no net")
    group.service.publish("broken", file)

    with group.clients(3) as clients:
        refused = [client.post("/v2/repository/models/broken/load") for client in clients]

    assert {answer.status_code for answer in refused} == {503}
    assert all(answer.json() == refused[0].json() for answer in refused)


def test_the_protocols_statistics_are_those_of_all_processes(group: Group, tmp_path: Path) -> None:
    group.service.publish("asked", onnx_files.write_colour_net(tmp_path / "net.onnx", shift=0.25))
    image = a_plain_image(GREEN)

    with group.clients(9) as clients:
        for client in clients:
            predict(client, image, "asked")
        counts = [client.get("/v2/models/asked/stats").json()["model_stats"][0] for client in clients]

    assert [each["inference_count"] for each in counts] == [9] * 9
    assert counts[0]["inference_stats"]["success"]["count"] == 9


def test_the_protocols_statistics_outlive_a_killed_process(group: Group, tmp_path: Path) -> None:
    group.service.publish("outlived", onnx_files.write_colour_net(tmp_path / "net.onnx", shift=0.75))

    def count() -> int:
        found = httpx.get(f"{group.url}/v2/models/outlived/stats", timeout=PATIENCE_S).raise_for_status()
        return int(found.json()["model_stats"][0]["inference_count"])

    with group.clients(9) as clients:
        for client in clients:
            predict(client, a_plain_image(GREEN), "outlived")
        assert count() == 9
    group.kill("api-front-1")
    group.wait_for(PROCESSES)

    assert count() == 9
    with group.clients(9) as clients:
        for client in clients:
            predict(client, a_plain_image(GREEN), "outlived")
    assert count() == 18


def test_a_deleted_model_leaves_every_process(group: Group, tmp_path: Path) -> None:
    group.service.publish("leaving", onnx_files.write_colour_net(tmp_path / "net.onnx", shift=0.5))
    image = a_plain_image(GREEN)
    before = loaded(group)
    with group.clients(9) as clients:
        group.wait_until(
            lambda: (
                bool([predict(client, image, "leaving") for client in clients]) and loaded(group) == before + PROCESSES
            )
        )

        clients[1].delete("/models/leaving").raise_for_status()

        group.wait_until(lambda: loaded(group) <= before)
        answers = [
            client.post("/predict?model=leaving", content=image, headers={"Content-Type": "image/png"})
            for client in clients
        ]
        assert {answer.status_code for answer in answers} == {404}


def test_a_bad_input_is_refused_alike_by_every_process(group: Group, tmp_path: Path) -> None:
    group.service.publish("refusing", onnx_files.write_colour_net(tmp_path / "net.onnx"))

    with group.clients(6) as clients:
        answers = [
            client.post("/predict?model=refusing", content=b"no image", headers={"Content-Type": "image/png"})
            for client in clients
        ]

    assert {answer.status_code for answer in answers} == {422}
    assert all(answer.json()["errors"] == answers[0].json()["errors"] for answer in answers)


def test_no_process_answers_with_the_old_version_after_a_flip(group: Group, tmp_path: Path) -> None:
    for shift in (0.0, 1.0):
        group.service.publish("flipped", onnx_files.write_colour_net(tmp_path / "net.onnx", shift=shift))
    image = a_plain_image(GREEN)

    with group.clients(9) as clients:
        for version in (1, 2, 1, 2, 1):
            flipping = clients[version]
            flipping.put("/models/flipped/aliases/live", json={"version": version}).raise_for_status()
            versions = {predict(client, image, "flipped@live")["version"] for client in clients}
            assert versions == {version}


def test_a_killed_owner_is_replaced_and_its_models_answer_again(group: Group, tmp_path: Path) -> None:
    group.service.publish("returning", onnx_files.write_colour_net(tmp_path / "net.onnx"))
    image = a_plain_image(GREEN)
    with group.clients(6) as clients:
        for client in clients:
            predict(client, image, "returning")

        group.kill("api-owner")
        statuses = set()
        for client in clients:
            try:
                answer = client.post("/predict?model=returning", content=image, headers={"Content-Type": "image/png"})
            except httpx.HTTPError:  # the owner's own connections end with it
                continue
            statuses.add(answer.status_code)

        assert statuses <= {200, 503}
        assert statuses
    group.wait_for(PROCESSES)
    with group.clients(6) as clients:
        assert {predict(client, image, "returning")["version"] for client in clients} == {1}


def test_a_request_that_has_begun_is_answered_before_the_end(tmp_path: Path) -> None:
    with running(tmp_path / "home", processes=2) as group:
        group.service.publish("draining", onnx_files.write_colour_net(tmp_path / "net.onnx"))
        image = a_plain_image(GREEN)
        host, port = group.url.removeprefix("http://").split(":")
        opened = []
        for _ in range(2):  # one for each process
            client = socket.create_connection((host, int(port)), PATIENCE_S)
            head = f"POST /predict?model=draining HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/png\r\n"
            client.sendall(f"{head}Content-Length: {len(image)}\r\n\r\n".encode() + image[:10])
            opened.append(client)
        with group.clients(2):
            pass  # both processes have read the heads by now
        pids = list(group.pids.values())

        group.process.terminate()
        for client in opened:
            client.sendall(image[10:])
        answers = [client.recv(65536) for client in opened]

        assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
        assert group.process.wait(PATIENCE_S) == 0
        assert not [pid for pid in pids if is_alive(pid)]
        for client in opened:
            client.close()


def test_a_connection_that_no_process_has_taken_yet_is_answered_before_the_end(tmp_path: Path) -> None:
    with running(tmp_path / "home", processes=2) as group:
        host, port = group.url.removeprefix("http://").split(":")
        pids = list(group.pids.values())
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        opened = [socket.create_connection((host, int(port)), PATIENCE_S) for _ in range(20)]
        for client in opened:
            client.sendall(f"GET /health/live HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

        group.process.terminate()
        time.sleep(0.2)  # the parent has signalled the others, which see that and the connections at the same time
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        answers = [client.recv(65536) for client in opened]

        assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * 20
        assert all(b"connection: close" in answer for answer in answers)
        assert group.process.wait(PATIENCE_S) == 0


def test_no_process_outlives_a_killed_parent(tmp_path: Path) -> None:
    with running(tmp_path / "home", processes=2) as group:
        pids = list(group.pids.values())

        group.process.kill()
        group.process.wait(PATIENCE_S)

        deadline_rounds = 2000
        while any(is_alive(pid) for pid in pids) and deadline_rounds:
            deadline_rounds -= 1
            signal.sigtimedwait([], 0.02)
        assert not [pid for pid in pids if is_alive(pid)]


def test_a_group_whose_owner_can_not_start_ends(tmp_path: Path) -> None:
    settings = samples.quick_settings(tmp_path / "home")
    ended = subprocess.run(
        [sys.executable, "-m", "service.server", "--port", "0"],
        env=os.environ | {"ESPALIER_HOME": str(settings.espalier_home), "DEVICE": "cuda", "API_PROCESSES": "2"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert ended.returncode not in {0, None}
    assert "DEVICE=cuda" in ended.stderr
