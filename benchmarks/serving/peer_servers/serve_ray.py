"""Ray Serve: replicas that batch what waits."""

import os
import signal
import threading

import peer_net
import ray
from ray import serve
from starlette.responses import Response

QUIET = {"enable_access_log": False, "log_level": "WARNING"}
over = threading.Event()


@serve.deployment(
    num_replicas=peer_net.WORKERS,
    logging_config=QUIET,
    max_ongoing_requests=256,
    ray_actor_options={"num_cpus": 1},
)
class Classify:
    """One process with a net of its own."""

    def __init__(self):
        self._net = peer_net.Net()

    @serve.batch(max_batch_size=peer_net.BATCH, batch_wait_timeout_s=0.001)
    async def _answers(self, bodies):
        return self._net.answer(bodies)

    async def __call__(self, request):
        return Response(await self._answers(await request.body()))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    ray.init(
        num_cpus=peer_net.WORKERS + 1,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=os.environ["TMPDIR"],
        runtime_env={"working_dir": None, "env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"]}},
        object_store_memory=200_000_000,
        logging_level="warning",
        log_to_driver=False,
    )
    serve.start(
        http_options={"host": "127.0.0.1", "port": peer_net.PORT, "request_timeout_s": 60}, logging_config=QUIET
    )
    serve.run(Classify.bind(), route_prefix="/")
    print("ready", flush=True)
    over.wait()
    serve.shutdown()
    ray.shutdown()
