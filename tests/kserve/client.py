"""Ask a service by KServe's client, over HTTP and gRPC, and print what it answers as JSON.

Run by the Python of an environment of its own: KServe's messages have the names of every other client of the protocol.
"""

import asyncio
import json
import sys
from typing import Any

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

MODEL, UNKNOWN = "colours", "unknown"
CONFIG = RESTConfig(protocol="v2", retries=0)


def asked(values: Any, *, binary: bool, datatype: str = "UINT8", model: str = MODEL) -> InferRequest:
    given = InferInput(name="images", shape=list(values.shape), datatype=datatype)
    given.set_data_from_numpy(values, binary_data=binary)
    wanted = [RequestedOutput("probabilities", parameters={"binary_data": binary})]
    return InferRequest(model_name=model, infer_inputs=[given], request_id="mine", request_outputs=wanted)


def shown(response: Any) -> dict[str, Any]:
    output = response.outputs[0]
    return {"id": response.id, "model": response.model_name, "data": output.as_numpy().tolist()}


async def over_http(url: str, pixels: Any, files: Any) -> dict[str, Any]:
    async with InferenceRESTClient(CONFIG) as client:
        answers = {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model": await client.is_model_ready(url, MODEL),
            "unknown": await client.is_model_ready(url, UNKNOWN),
            "binary": shown(await client.infer(url, asked(pixels, binary=True), model_name=MODEL)),
            "json": shown(await client.infer(url, asked(pixels, binary=False), model_name=MODEL)),
            "files": shown(await client.infer(url, asked(files, binary=True, datatype="BYTES"), model_name=MODEL)),
        }
        try:
            await client.infer(url, asked(pixels, binary=True, model=UNKNOWN), model_name=UNKNOWN)
        except httpx.HTTPStatusError as error:
            answers["error"] = str(error)
    return answers


async def over_grpc(address: str, pixels: Any, files: Any) -> dict[str, Any]:
    async with InferenceGRPCClient(address, retries=0) as client:
        answers = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model": await client.is_model_ready(MODEL),
            "unknown": await client.is_model_ready(UNKNOWN),
            "binary": shown(await client.infer(asked(pixels, binary=True))),
            "json": shown(await client.infer(asked(pixels, binary=False))),
            "files": shown(await client.infer(asked(files, binary=True, datatype="BYTES"))),
        }
        try:
            await client.infer(asked(pixels, binary=True, model=UNKNOWN))
        except grpc.RpcError as error:
            answers["error"] = f"{error.code()}: {error.details()}"
    return answers


async def main(url: str, address: str, *paths: str) -> None:
    pixels = np.full((1, 16, 16, 3), (250, 5, 5), np.uint8)
    encoded = []
    for path in paths:
        with open(path, "rb") as file:  # noqa: ASYNC230, PTH123  nothing else runs here
            encoded.append(file.read())
    files = np.array(encoded, object)
    answers = {"http": await over_http(url, pixels, files), "grpc": await over_grpc(address, pixels, files)}
    print(json.dumps(answers))  # noqa: T201  its only output


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
