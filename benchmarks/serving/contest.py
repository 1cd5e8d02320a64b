"""Contest of the servers of one net: started in environments of their own, and measured in turns."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.serving import client, environments, limit, processes
from benchmarks.serving.client import WrongAnswer
from benchmarks.serving.environments import EnvironmentFailed
from benchmarks.serving.nets import Net
from benchmarks.serving.peers import SERVERS, espalier, peers
from benchmarks.serving.processes import Server, ServerFailed
from benchmarks.serving.results import LEVELS, OURS, Results
from models_store.tasks.image.codec import decode
from workers.export.sessions import open_session

ON_TINY = ("mosec", "fastapi")
"""peers that the tiny net is compared with: the fastest one, and the one that anybody writes"""
LIMIT_S = 1.0
WARM = "torch is loaded"
MOST_FAILURES = 2
QUIETLY = {
    "OMP_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "120",  # one busy core
    "BENTOML_DO_NOT_TRACK": "True",
}


class Contest:
    """Servers of one net in one mode, ours among them, and what they have answered."""

    def __init__(
        self, net: Net, file: Path, ours: Server, *, folder: Path, options: argparse.Namespace, results: Results
    ) -> None:
        self._net, self._file, self._folder, self._options, self._results = net, file, folder, options, results
        self._workers = len(os.sched_getaffinity(0))
        self._jpeg_path = folder / "picture.jpg"
        jpeg = net.jpeg()
        self._jpeg_path.write_bytes(jpeg)
        image_HWC = decode(jpeg, size=net.size, channels=3, fit="crop")
        row_K = open_session(file, device="cpu", threads=1).run(None, {"images": image_HWC[None]})[0][0]
        self._likeliest = int(row_K.argmax())
        self._peers = {name: peer for name, peer in peers(net, workers=self._workers).items() if self._is_wanted(name)}
        self._asks = {name: peer.asks(net, jpeg, image_HWC.tobytes()) for name, peer in self._peers.items()}
        self._asks[OURS] = espalier(net, jpeg, image_HWC.tobytes())
        self._running = {OURS: ours}
        self._failures: dict[str, int] = {}
        self._starts = len(list(folder.iterdir()))

    def run(self) -> None:
        """Measure all servers, round after round. A peer that fails again and again is left out, and reported."""
        with ExitStack() as stack:
            self._prove(OURS)
            for name, peer in list(self._peers.items()):
                if peer.is_idle_at_rest:
                    with self._reported(name):
                        self._running[name] = stack.enter_context(self._started(name))
                        self._prove(name)
            for number in range(self._options.rounds):
                names = [OURS, *self._peers]
                for name in names if number % 2 == 0 else names[::-1]:
                    with self._reported(name):
                        self._take_turn(name)
                self._measure_limit()
                print(f"{self._net.name}: round {number + 1} of {self._options.rounds}", flush=True)

    def _take_turn(self, name: str) -> None:
        if name in self._running:
            self._measure(name)
            return
        with self._started(name) as server:
            self._running[name] = server
            try:
                self._prove(name)
                self._measure(name)
            finally:
                self._running.pop(name, None)

    def _prove(self, name: str) -> None:
        """Check that it answers right, and warm it up."""
        url, net = self._running[name].url, self._net
        label = net.labels[self._likeliest]
        for ask in self._asks[name].by_form.values():
            client.check(url, ask, label=label, index=self._likeliest, classes=net.classes)
            client.load(url, ask, connections=8, seconds=1, folder=self._folder)

    def _measure(self, name: str) -> None:
        seconds = self._options.seconds * self._net.share
        levels = LEVELS if name == OURS else self._peers[name].levels
        for form, ask in self._asks[name].by_form.items():
            for connections in levels:
                url = self._running[name].url
                found = client.load(url, ask, connections=connections, seconds=seconds, folder=self._folder)
                self._results.loads[self._net.name, form, connections, name].append(found)
        if self._failures.get(name, 0) < MOST_FAILURES:
            self._results.unusable.pop(name, None)

    def _measure_limit(self) -> None:
        size, seconds = self._net.size, min(LIMIT_S, self._options.seconds)
        best = limit.best(self._file, size=size, jpeg=self._jpeg_path, seconds=seconds)
        whole = limit.images_per_second(self._file, size=size, jpeg=self._jpeg_path, batch=0, seconds=seconds)
        self._results.limits[self._net.name, "tensor"].append(best)
        self._results.limits[self._net.name, "jpeg"].append(whole)

    @contextmanager
    def _started(self, name: str) -> Iterator[Server]:
        peer, net = self._peers[name], self._net
        python = environments.made(name, self._options.environments)
        self._starts += 1
        folder = self._folder / f"{name}{self._starts}"  # a short name: paths of sockets have to be
        folder.mkdir()
        port = processes.free_port()
        library = f"{Path(sys.base_prefix) / 'lib'}:{os.environ.get('LD_LIBRARY_PATH', '')}"  # pytriton looks there
        environment = {
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PATH": f"{python.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(SERVERS),
            "PYTHONUNBUFFERED": "1",
            "LD_LIBRARY_PATH": library,
            "PEER_PORT": str(port),
            "PEER_WORKERS": str(self._workers),
            "PEER_BATCH": str(net.peer_batch),
            "PEER_SIZE": str(net.size),
            "PEER_MODEL": str(self._file),
        }
        command = peer.command(python, folder, port)
        server = Server(command, log=folder / "log", port=port, environment=dict(os.environ) | QUIETLY | environment)
        try:
            if peer.says_ready:
                server.wait_for_text("ready\n")
            server.wait_for_answer(peer.ready_path)
            yield server
        finally:
            server.stop()

    def _is_wanted(self, name: str) -> bool:
        only = self._options.only
        return name in only if only else self._net.name != "tiny" or name in ON_TINY

    @contextmanager
    def _reported(self, name: str) -> Iterator[None]:
        """Leave a peer out that has failed twice, with the reason; ours has to be measured."""
        try:
            yield
        except (ServerFailed, WrongAnswer, EnvironmentFailed) as failure:
            if name == OURS:
                raise
            print(f"{name} has failed: {failure}", flush=True)
            self._running.pop(name, None)
            self._results.unusable[name] = " ".join(str(failure).split())[-300:]
            self._failures[name] = self._failures.get(name, 0) + 1
            if self._failures[name] == MOST_FAILURES:
                del self._peers[name]


@contextmanager
def espalier_up(home: Path, folder: Path, **settings: str) -> Iterator[Server]:
    """Run the stack as `make up` starts it, until its worker is at rest."""
    port = processes.free_port()
    command = [str(Path(sys.executable).with_name("espalier")), "up", "--home", str(home), "--port", str(port)]
    server = Server(command, log=folder / "espalier.log", port=port, environment=dict(os.environ) | settings)
    try:
        server.wait_for_text(WARM, patience_s=300)
        yield server
    finally:
        server.stop()
