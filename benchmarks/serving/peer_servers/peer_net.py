"""The net as every peer serves it: the decoding, the session's options and the answers that Espalier has.

A body is a JPEG, or the raw uint8 values of one image (H, W, C), told apart by its length.
"""

# B batch, H height, W width, C channel, K class

import json
import os

import numpy as np
import onnxruntime
import simplejpeg
from PIL import Image

PORT = int(os.environ["PEER_PORT"])
WORKERS = int(os.environ["PEER_WORKERS"])
BATCH = int(os.environ["PEER_BATCH"])
SIZE = int(os.environ["PEER_SIZE"])
RAW_BYTES = SIZE * SIZE * 3
TOP = 5


class Net:
    """A session of one thread that doesn't spin."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = os.environ["PEER_MODEL"]
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._labels = json.loads(self._session.get_modelmeta().custom_metadata_map["espalier.labels"])

    def run(self, images_BHWC):
        """Return the probabilities (B, K) of decoded images."""
        return self._session.run(None, {self._input: images_BHWC})[0]

    def answer(self, bodies):
        """Return the answer to each body: JSON to a JPEG, float32 to raw values."""
        rows_BK = self.run(np.stack([decode(body) for body in bodies]))
        return [
            row_K.tobytes() if len(body) == RAW_BYTES else self.as_answer(row_K)
            for body, row_K in zip(bodies, rows_BK, strict=True)
        ]

    def answer_as_text(self, bodies):
        """Return the answer to each body as JSON, for servers that return text alone."""
        return [self.as_answer(row_K).decode() for row_K in self.run(np.stack([decode(body) for body in bodies]))]

    def as_answer(self, row_K):
        """Return the likeliest classes as JSON."""
        likeliest = np.argpartition(row_K, -TOP)[-TOP:]
        ranked = likeliest[np.argsort(-row_K[likeliest])]
        classes = [{"label": self._labels[index], "probability": float(row_K[index])} for index in ranked]
        return json.dumps({"predictions": [{"label": classes[0]["label"], "classes": classes}]}).encode()


def decode(body):
    """Return uint8 (H, W, C): a JPEG scaled by n/8 while it is decoded, the centred square of it resampled once."""
    if len(body) == RAW_BYTES:
        return np.frombuffer(body, np.uint8).reshape(SIZE, SIZE, 3)
    pixels = simplejpeg.decode_jpeg(body, "RGB", min_height=2 * SIZE, min_width=2 * SIZE)
    image = Image.fromarray(pixels)
    if image.size != (SIZE, SIZE):
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)
    return np.asarray(image)
