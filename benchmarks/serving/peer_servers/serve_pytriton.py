"""Triton by pytriton: a C++ front, Python processes behind it, a batch of whatever waits; bodies are BYTES tensors."""

import signal
import threading

import numpy as np
import peer_net
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

over = threading.Event()


def of_jpegs(net):
    """Return the function of JPEGs."""

    @batch
    def infer(body):
        answers = net.answer([bytes(each) for each in body[:, 0]])
        return {"answer": np.array(answers, dtype=object)[:, None]}

    return infer


def of_images(net):
    """Return the function of decoded images."""

    @batch
    def infer(images):
        return {"probabilities": net.run(images)}

    return infer


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=peer_net.PORT,
        allow_grpc=False,
        allow_metrics=False,
        log_verbose=0,
    )
    shape = (peer_net.SIZE, peer_net.SIZE, 3)
    forms = {
        "jpeg": (
            of_jpegs,
            Tensor(name="body", dtype=bytes, shape=(1,)),
            Tensor(name="answer", dtype=bytes, shape=(1,)),
        ),
        "images": (
            of_images,
            Tensor(name="images", dtype=np.uint8, shape=shape),
            Tensor(name="probabilities", dtype=np.float32, shape=(-1,)),
        ),
    }
    with Triton(config=config) as triton:
        for name, (function, given, returned) in forms.items():
            triton.bind(
                model_name=name,
                infer_func=[function(peer_net.Net()) for _ in range(peer_net.WORKERS)],
                inputs=[given],
                outputs=[returned],
                config=ModelConfig(
                    max_batch_size=peer_net.BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=0)
                ),
            )
        triton.run()
        print("ready", flush=True)
        over.wait()
