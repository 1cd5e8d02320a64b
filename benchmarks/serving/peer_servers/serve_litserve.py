"""LitServe: batches of what waits; it takes JSON and forms alone, so a body comes as base64."""

import base64

import litserve
import peer_net
from fastapi import Response


class Classify(litserve.LitAPI):
    """One process with a net of its own."""

    def setup(self, device):
        self._net = peer_net.Net()

    def decode_request(self, request):
        return base64.b64decode(request["body"])

    def batch(self, inputs):
        return inputs

    def predict(self, bodies):
        return self._net.answer(bodies)

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return Response(output)


if __name__ == "__main__":
    server = litserve.LitServer(
        Classify(max_batch_size=peer_net.BATCH, batch_timeout=0.001),
        accelerator="cpu",
        workers_per_device=peer_net.WORKERS,
        fast_queue=True,
        timeout=60,
    )
    server.run(host="127.0.0.1", port=peer_net.PORT, generate_client_file=False, log_level="warning")
