"""Messages of the protocol over gRPC, made from the descriptors of open_inference.proto in a pool of their own.

A pool of our own, because the names of the protocol are those of every client: with the default one, no program could
import this module and a client. `python -m service.protocol.messages --check|--write` compares or renews them.
"""

import argparse
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE, SERVICE = "inference", "inference.GRPCInferenceService"
PROTO = Path(__file__).with_name("open_inference.proto")
DESCRIPTORS = PROTO.with_suffix(".pb")


@lru_cache(maxsize=1)
def pool() -> DescriptorPool:
    """Return the pool of the protocol's messages."""
    made = DescriptorPool()
    for file in FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file:
        made.Add(file)
    return made


@lru_cache(maxsize=128)
def message(name: str) -> Any:  # noqa: ANN401  a class that protobuf makes
    """Return the class of a message by its name: `ModelInferRequest`."""
    return GetMessageClass(pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


def compiled() -> bytes:
    """Return the descriptors of the proto, as protoc makes them; its package is of the development tools."""
    from grpc_tools import protoc  # noqa: PLC0415  a development tool

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / DESCRIPTORS.name
        status = protoc.main(["protoc", f"-I{PROTO.parent}", f"--descriptor_set_out={made}", PROTO.name])
        assert status == 0, f"protoc refuses {PROTO.name}"
        return made.read_bytes()


def main() -> int:
    """Write the descriptors, or report whether they are current."""
    parser = argparse.ArgumentParser(prog="python -m service.protocol.messages", description=__doc__)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--check", action="store_true", help="exit 1 when the descriptors are stale")
    group.add_argument("--write", action="store_true", help="write the descriptors")
    arguments = parser.parse_args()
    if arguments.write:
        DESCRIPTORS.write_bytes(compiled())
    elif not DESCRIPTORS.exists() or DESCRIPTORS.read_bytes() != compiled():
        sys.stderr.write(f"{DESCRIPTORS.name} is stale; run `make generated` and commit it\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
