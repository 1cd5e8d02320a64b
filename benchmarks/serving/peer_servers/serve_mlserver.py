"""MLServer: adaptive batching in parallel workers; its REST has no binary tensors, so a body comes as base64."""

import peer_net
from mlserver import MLModel
from mlserver.codecs import Base64Codec, StringCodec
from mlserver.types import InferenceResponse


class Classify(MLModel):
    """One process with a net of its own."""

    async def load(self) -> bool:
        self._net = peer_net.Net()
        return True

    async def predict(self, payload) -> InferenceResponse:
        bodies = Base64Codec.decode_input(payload.inputs[0])
        output = StringCodec.encode_output("answers", self._net.answer_as_text(bodies))
        return InferenceResponse(model_name=self.name, outputs=[output])
