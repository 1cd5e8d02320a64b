"""Messages over gRPC against those of a public client, which bring the same names in the default pool."""

import subprocess
import sys
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from tritonclient.grpc import model_config_pb2, service_pb2

from service.protocol import messages

OF_KSERVE_ALONE = {
    "ModelMetadataResponse.properties",
    "ModelMetadataResponse.PropertiesEntry.key",
    "ModelMetadataResponse.PropertiesEntry.value",
    "RepositoryModelLoadResponse.model_name",
    "RepositoryModelLoadResponse.isLoaded",
    "RepositoryModelUnloadResponse.model_name",
    "RepositoryModelUnloadResponse.isUnloaded",
}


def files() -> Any:
    return FileDescriptorSet.FromString(messages.DESCRIPTORS.read_bytes()).file


def fields_of(descriptor: Descriptor) -> dict[str, tuple[int, int, bool]]:
    """Return the fields of a message and of those inside of it: name → number, type, repeated."""
    found = {
        f"{descriptor.name}.{field.name}": (field.number, field.type, field.is_repeated) for field in descriptor.fields
    }
    for nested in descriptor.nested_types:
        found |= {f"{descriptor.name}.{name}": value for name, value in fields_of(nested).items()}
    return found


@pytest.mark.parametrize("name", [each.name for file in files() for each in file.message_type])
def test_a_message_has_the_fields_of_the_public_one(name: str) -> None:
    public = dict(service_pb2.DESCRIPTOR.message_types_by_name) | dict(
        model_config_pb2.DESCRIPTOR.message_types_by_name
    )

    ours = fields_of(messages.pool().FindMessageTypeByName(f"inference.{name}"))

    theirs = fields_of(public[name])
    assert {field: value for field, value in ours.items() if theirs.get(field) != value}.keys() <= OF_KSERVE_ALONE


def test_the_service_has_the_methods_of_the_public_one() -> None:
    public = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name

    ours = messages.pool().FindServiceByName(messages.SERVICE).methods

    assert len(ours) == 12
    for method in ours:
        same = public[method.name]
        assert (method.input_type.name, method.output_type.name) == (same.input_type.name, same.output_type.name)
        assert (method.client_streaming, method.server_streaming) == (same.client_streaming, same.server_streaming)


def test_the_descriptors_are_those_of_the_proto() -> None:
    assert messages.compiled() == messages.DESCRIPTORS.read_bytes()


def test_an_api_without_the_port_does_not_import_grpc(tmp_path: Any) -> None:
    code = (
        "import sys; from service.app import create_app; from models_store.settings import Settings; "
        f"create_app(Settings(espalier_home={str(tmp_path)!r})); "
        "sys.exit('grpc' in sys.modules or 'google.protobuf' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
