"""Trainers forked by a real warm starter: what they make, what they see, and who ends when somebody is killed."""

import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models_store.datasets import store as datasets
from models_store.storage.blobs import Blobs
from tests import databases
from tests.processes import children_of, is_alive, kill, name_of, parent_of
from tests.samples import quick_settings
from tests.workers.process.trainers import CURRENT_TEST, PATIENCE_S, Host, the_starter, wait_for
from workers.process import trainer_start
from workers.process.starter_keeper import StarterKeeper

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Iterator[Host]:
    """A host on which this process keeps a starter, as a worker does."""
    settings = quick_settings(tmp_path_factory.mktemp("host") / "home", lease_s=4 * PATIENCE_S)
    database = databases.sqlite(settings.database_url)
    blobs = Blobs(settings.blobs_url, scratch=settings.scratch)
    dataset, _ = datasets.ingest(
        archive,
        owner="ada",
        name="colours",
        undecodable="refuse",
        database=database,
        blobs=blobs,
        settings=settings,
    )
    database.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(CURRENT_TEST)
        keeper = StarterKeeper(settings)
        patch.undo()
        keeper.start()
        patch.setattr(trainer_start, "ANSWER_S", PATIENCE_S)  # hosts of tests are busy
        yield Host(settings, dataset)
        keeper.stop()


def test_a_forked_trainer_makes_the_same_weights_as_a_fresh_one(host: Host) -> None:
    forked = host.run()

    fresh = host.run(command=list(trainer_start.FRESH))

    assert forked.keys() == fresh.keys()
    assert all(np.array_equal(forked[name], fresh[name]) for name in forked)


def test_a_trainer_is_the_starters_child_and_leads_a_group_of_its_own(host: Host) -> None:
    trainer, pid = host.start_endless()

    assert parent_of(pid) == the_starter(os.getpid())
    assert os.getpgid(pid) == pid
    assert name_of(pid) == "trainer"
    trainer.close()


def test_the_starter_has_one_thread_and_no_secret(host: Host) -> None:
    host.run()

    pid = the_starter(os.getpid())
    variables = {line.partition("=")[0] for line in Path(f"/proc/{pid}/environ").read_text().split("\0")}
    assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
    assert not variables & {"DATABASE_URL", "BROKER_URL", "API_KEYS", trainer_start.VARIABLE}


def test_a_trainer_that_is_told_to_stop_saves_and_leaves(host: Host) -> None:
    trainer, _ = host.start_endless()
    kinds: list[str] = []

    trainer.ask_to_stop()
    while not trainer.is_silent:
        kinds += [kind for kind, _ in trainer.read(timeout_s=1)]

    assert wait_for(trainer.exit_code, until=lambda code: code is not None) == 75
    assert "checkpoint" in kinds
    trainer.close()


def test_a_killed_trainer_is_told_of_and_the_starter_goes_on(host: Host) -> None:
    serving = the_starter(os.getpid())
    trainer, pid = host.start_endless()

    kill(pid)

    assert wait_for(trainer.exit_code, until=lambda code: code is not None) == -signal.SIGKILL
    trainer.close()
    assert host.run()
    assert the_starter(os.getpid()) == serving


def test_closing_a_trainer_leaves_nothing_of_it(host: Host) -> None:
    trainer, pid = host.start_endless()

    trainer.close()

    wait_for(lambda: not Path(f"/proc/{pid}").exists())


def test_a_killed_starter_takes_its_trainer_along_and_the_next_one_serves(host: Host) -> None:
    serving = the_starter(os.getpid())
    trainer, pid = host.start_endless()

    kill(serving)

    assert wait_for(trainer.exit_code, until=lambda code: code is not None) == -signal.SIGKILL
    wait_for(lambda: not is_alive(pid))
    trainer.close()
    assert host.run()  # cold, or by the next one
    assert the_starter(os.getpid()) != serving


def test_a_stopped_starter_costs_the_warm_start_and_no_job(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_start, "ANSWER_S", 1)
    serving = the_starter(os.getpid())
    os.kill(serving, signal.SIGSTOP)

    weights = host.run()
    os.kill(serving, signal.SIGCONT)

    assert weights
    monkeypatch.setattr(trainer_start, "ANSWER_S", PATIENCE_S)
    trainer, pid = host.start_endless()
    assert parent_of(pid) == serving  # what it was asked while it stood still, it has dropped
    assert [child for child in children_of(serving) if is_alive(child)] == [pid]
    trainer.close()


def test_the_end_of_a_trainer_is_seen_though_its_starter_stands_still(host: Host) -> None:
    serving = the_starter(os.getpid())
    trainer, _ = host.start_endless()
    os.kill(serving, signal.SIGSTOP)

    trainer.kill()

    assert trainer.exit_code() == -signal.SIGKILL
    os.kill(serving, signal.SIGCONT)
    trainer.close()


def test_a_change_of_environment_starts_cold_once_and_then_warm_again(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = the_starter(os.getpid())
    monkeypatch.setenv("OMP_DYNAMIC", "false")

    cold, cold_pid = host.start_endless()
    cold.close()
    warm, warm_pid = host.start_endless()

    assert (parent_of(warm_pid), cold_pid == warm_pid) == (serving, False)
    assert "OMP_DYNAMIC=false" in Path(f"/proc/{serving}/environ").read_text().split("\0")
    warm.close()


def test_a_starter_is_replaced_after_so_many_trainers(
    host: Host, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(trainer_start.VARIABLE, "")  # and the other starter's again, afterwards
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(CURRENT_TEST)
        keeper = StarterKeeper(host.settings.model_copy(update={"starter_forks": 1}))
    keeper.start()

    first, first_pid = host.start_endless()
    starter = parent_of(first_pid)
    first.close()
    second, second_pid = host.start_endless()

    assert parent_of(second_pid) == starter != os.getpid()
    assert capfd.readouterr().err.count("starter: ready") == 2
    second.close()
    keeper.stop()


def test_a_starter_goes_on_forking_while_a_trainer_that_takes_long_keeps_it_from_being_replaced(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(trainer_start.VARIABLE, "")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(CURRENT_TEST)
        keeper = StarterKeeper(host.settings.model_copy(update={"starter_forks": 1}))
    keeper.start()

    long, long_pid = host.start_endless()
    beside, beside_pid = host.start_endless()

    assert parent_of(beside_pid) == parent_of(long_pid) != os.getpid()
    long.close()
    beside.close()
    keeper.stop()


def test_a_starter_that_is_replaced_leaves_no_dead_trainer(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trainer_start.VARIABLE, "")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(CURRENT_TEST)
        keeper = StarterKeeper(host.settings.model_copy(update={"starter_forks": 1}))
    keeper.start()
    supervisor, pid = play(host, starter=os.environ[trainer_start.VARIABLE])
    starter = parent_of(pid)

    kill(supervisor.pid)
    supervisor.wait()
    wait_for(lambda: not is_alive(pid))
    following, following_pid = host.start_endless()

    assert parent_of(following_pid) == starter
    assert children_of(starter) == [following_pid]
    following.close()
    keeper.stop()


@pytest.mark.parametrize("setting", ["true", "false"])
def test_a_worker_keeps_a_starter_unless_the_settings_forbid_it(host: Host, setting: str) -> None:
    program = (
        "import os; from celery.signals import worker_init; from workers.process import trainer_start, wake_up;"
        "worker_init.send(sender=None); print(bool(os.environ.get(trainer_start.VARIABLE)))"
    )
    environment = {name: value for name, value in os.environ.items() if name != trainer_start.VARIABLE}
    environment |= {"ESPALIER_HOME": str(host.settings.espalier_home), "WARM_STARTER": setting}

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)

    assert ended.stdout.strip() == str(setting == "true")


@pytest.mark.usefixtures("host")
def test_another_users_process_gets_no_trainer() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may act as another user")
    program = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET);"
        "s.connect(b'\\0' + sys.argv[1].encode()); s.settimeout(60); print(s.recv(10))"
    )
    name = trainer_start.address(os.environ[trainer_start.VARIABLE])[1:].decode()

    ended = subprocess.run([sys.executable, "-c", program, name], capture_output=True, text=True, check=False)

    assert ended.stdout.strip() == "b''" or "ConnectionReset" in ended.stderr, ended.stderr


def test_nonsense_on_the_socket_stops_nobody(host: Host) -> None:
    serving = the_starter(os.getpid())
    for sent, descriptors in itertools.product((b"no json", b"{}", b'{"assignment": 1}', b"[]"), ([], [0, 1, 2])):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(trainer_start.address(os.environ[trainer_start.VARIABLE]))
            socket.send_fds(connection, [sent], descriptors)
            connection.settimeout(PATIENCE_S)
            assert b"refused" in connection.recv(1000)

    assert host.run()
    assert the_starter(os.getpid()) == serving


@pytest.mark.parametrize("victim", ["supervisor", "worker"])
def test_no_trainer_outlives_its_supervisor_or_its_worker(host: Host, victim: str) -> None:
    """A supervisor is played by a process that asks this one's starter; a worker by one that keeps a starter itself."""
    played, pid = play(host, starter=None if victim == "worker" else os.environ[trainer_start.VARIABLE])
    serving = parent_of(pid)

    kill(played.pid)

    played.wait()
    wait_for(lambda: not is_alive(pid))
    if victim == "worker":
        wait_for(lambda: not is_alive(serving))
    else:
        assert is_alive(serving)


def play(host: Host, *, starter: str | None) -> tuple["subprocess.Popen[str]", int]:
    """Return a process that follows a trainer, and the trainer's pid; without a `starter` it keeps one itself."""
    arguments = [str(host.settings.espalier_home), host.dataset.digest, host.dataset.content_blob]
    command = [sys.executable, "-c", PLAYED, *arguments, host.dataset.manifest_blob]
    environment = {
        name: value for name, value in os.environ.items() if name not in {trainer_start.VARIABLE, CURRENT_TEST}
    } | ({} if starter is None else {trainer_start.VARIABLE: starter})
    played = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert played.stdout is not None
    with played.stdout:
        return played, int(played.stdout.readline())


PLAYED = """
import os, sys, time
from pathlib import Path
from tests.samples import quick_settings
from tests.workers.process.trainers import Host
from workers.process import trainer_start
from workers.process.starter_keeper import StarterKeeper

class Dataset:
    id = "ds_0000000000"
    card = {"classes": ["blue", "green", "red"]}
    digest, content_blob, manifest_blob = sys.argv[2:5]

trainer_start.ANSWER_S = 120
settings = quick_settings(Path(sys.argv[1]), lease_s=480)
if trainer_start.VARIABLE not in os.environ:
    StarterKeeper(settings).start()
_, pid = Host(settings, Dataset()).start_endless()
print(pid, flush=True)
time.sleep(600)
"""
