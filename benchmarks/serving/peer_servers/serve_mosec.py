"""Server of mosec: a Rust front, Python processes behind it; a batch runs when it is full or a millisecond is over."""

import sys

import peer_net
from mosec import Server, Worker


class Classify(Worker):
    """One process with a net of its own."""

    def __init__(self):
        self._net = peer_net.Net()

    def deserialize(self, data):
        return data

    def forward(self, data):
        return self._net.answer(data)

    def serialize(self, data):
        return data


if __name__ == "__main__":
    sys.argv += ["--address", "127.0.0.1", "--port", str(peer_net.PORT), "--timeout", "60000", "--log-level", "warning"]
    server = Server()
    server.append_worker(
        Classify, num=peer_net.WORKERS, max_batch_size=peer_net.BATCH, max_wait_time=1, route="/inference"
    )
    server.run()
