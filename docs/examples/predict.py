#!/usr/bin/env python3
# /// script
# dependencies = ["onnxruntime", "numpy", "pillow"]
# ///
"""Predict labels of photographs with a model's any-size file: `python predict.py any-size.onnx photo.jpg …`."""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def predict(session: onnxruntime.InferenceSession, path: str) -> list[tuple[str, float]]:
    """Return every label with its probability, the likeliest first; for a model of numbers, "value" and the number."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGBA")  # upright, as people see it
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image)  # transparent pixels become white
    page.putalpha(image.getchannel("A"))
    channels = session.get_inputs()[0].shape[3]
    pixels = np.asarray(page.convert("RGB").convert("L") if channels == 1 else page)
    pixels = pixels.reshape(1, image.height, image.width, -1)[..., :channels]
    probabilities = session.run(["probabilities"], {"images": np.ascontiguousarray(pixels)})[0][0]
    labels = json.loads(session.get_modelmeta().custom_metadata_map["espalier.labels"]) or ["value"]
    return sorted(zip(labels, probabilities.tolist(), strict=True), key=lambda pair: -pair[1])


if __name__ == "__main__":
    model = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    for photo in sys.argv[2:]:
        print(photo, *(f"{label} {share:.3f}" for label, share in predict(model, photo)[:3]), sep="  ")  # noqa: T201  its output
