"""Shapes of the Open Inference Protocol in the OpenAPI document: requests, answers and errors under `/v2`."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models_store.tasks import rooms
from service.answers.answer import Answer


class ProtocolFault(Answer):
    """An error of the protocol."""

    error: str = Field(description="what was wrong, and what to do")


class ServerMetadata(Answer):
    """The server, and the extensions of the protocol that it has."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(Answer):
    """Whether the server is alive."""

    live: bool


class ServerReady(Answer):
    """Whether the server can answer."""

    ready: bool


class ModelReady(Answer):
    """Whether a model would answer now."""

    name: str
    ready: bool


class TensorMetadata(Answer):
    """A tensor of a model; -1 in its shape is any length, and the first axis is that of examples."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Answer):
    """A model's versions and tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    properties: dict[str, str] = Field(
        description="version, variant and task, how encoded examples come, the execution provider that runs the "
        "model, and whether it is loaded: `true` or `false`"
    )


class ConfiguredTensor(Answer):
    """A tensor of one example."""

    name: str
    data_type: str
    dims: list[int]


class Versions(Answer):
    """Versions by their numbers."""

    versions: list[int]


class VersionPolicy(Answer):
    """The version that answers."""

    specific: Versions


class InstanceGroup(Answer):
    """What runs the model."""

    kind: Literal["KIND_CPU", "KIND_GPU"]


class ConfiguredParameter(Answer):
    """A parameter of a model."""

    string_value: str


class ModelConfiguration(Answer):
    """A model's configuration, in the members of Triton's that have a meaning here."""

    name: str
    platform: str
    backend: str
    version_policy: VersionPolicy
    max_batch_size: int = Field(description="most examples that run together; a request may have more")
    input: list[ConfiguredTensor]
    output: list[ConfiguredTensor]
    dynamic_batching: dict[str, int]
    instance_group: list[InstanceGroup]
    parameters: dict[str, ConfiguredParameter] = Field(
        description="`execution_provider` runs the model; `tuning` names the options with which it does, empty while "
        "it is not loaded"
    )
    default_model_filename: str


class Duration(Answer):
    """How often, and how long together in nanoseconds."""

    count: int
    ns: int


class InferenceStatistics(Answer):
    """Durations of requests, in all and by their parts."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration = Field(description="decoding")
    compute_infer: Duration = Field(description="running")
    compute_output: Duration = Field(description="the rest")
    cache_hit: Duration
    cache_miss: Duration


class BatchStatistics(Answer):
    """Durations of the batches of one size."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class VersionStatistics(Answer):
    """What one version has answered in this process since it started."""

    name: str
    version: str
    last_inference: int = Field(description="time of the last request, in milliseconds since the epoch; 0: none")
    inference_count: int = Field(description="examples")
    execution_count: int = Field(description="batches")
    inference_stats: InferenceStatistics
    batch_stats: list[BatchStatistics]


class ModelStatistics(Answer):
    """What models have answered."""

    model_stats: list[VersionStatistics]


class IndexRequest(BaseModel):
    """Which models to list."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ready: bool = Field(default=False, description="only those that are ready: here, that is all of them")


class IndexedVersion(Answer):
    """A version of a model."""

    name: str
    version: str
    state: str = Field(
        description="READY: it would answer now; one that is not in memory is loaded by its first request"
    )
    reason: str


class RepositoryParameters(BaseModel):
    """Parameters of unloading; others are refused, as those that would replace a model."""

    model_config = ConfigDict(extra="allow", strict=True)

    unload_dependents: bool | None = Field(None, description="either value means the same: no model needs another one")


class RepositoryRequest(BaseModel):
    """Parameters of loading or unloading."""

    model_config = ConfigDict(extra="forbid", strict=True)

    parameters: RepositoryParameters | None = None

    @property
    def named(self) -> set[str]:
        """Return the names of the parameters that were given."""
        return set() if self.parameters is None else self.parameters.model_fields_set


class InputParameters(BaseModel):
    """Parameters of an input."""

    binary_data_size: int | None = Field(None, ge=0, description="bytes of its data behind the JSON, instead of `data`")


class RequestedOutputParameters(BaseModel):
    """Parameters of an output that is asked for."""

    classification: int | None = Field(
        None, ge=1, description="number of classes to name, likeliest first, as `value:index:label` in BYTES"
    )
    binary_data: bool | None = Field(None, description="its values come behind the JSON")


class InferenceParameters(BaseModel):
    """Parameters of a request."""

    priority: int | None = Field(None, ge=0, le=9, description="1 is served first, 9 last; 0: the default")
    timeout: int | None = Field(None, ge=0, description="time for the answer, in microseconds; 0: the default")
    binary_data_output: bool | None = Field(None, description="all outputs come behind the JSON")


class OutputParameters(Answer):
    """Parameters of an output."""

    binary_data_size: int = Field(description="bytes of its data behind the JSON")


def _with_notes(schema: dict[str, Any]) -> None:
    """Document what `outputs.notes_of` returns, for the tasks whose codecs note anything."""
    for contract in rooms.TASKS:
        for name, described in contract.notes.items():
            meaning = f"of {contract.examples}, a list in JSON with a value for each: {described['description']}"
            schema["properties"][name] = {"type": "string", "description": meaning}


class AnswerParameters(Answer):
    """The file that answered, and what is noted of the examples."""

    model_config = ConfigDict(json_schema_extra=_with_notes)

    variant: str
    provider: str = Field(description="execution provider that ran the file")


class InferInput(BaseModel):
    """An input tensor."""

    name: str = Field(description="as metadata has it; any for encoded examples")
    datatype: str = Field(description="BOOL, UINT8 … FP64, BF16, or BYTES for encoded examples")
    shape: list[int]
    parameters: InputParameters | None = None
    data: list[Any] | None = Field(None, description="the values, flat or nested; strings for BYTES")


class InferOutput(BaseModel):
    """An output that is asked for."""

    name: str
    parameters: RequestedOutputParameters | None = None


class InferenceRequest(BaseModel):
    """An inference request as JSON; binary tensors may follow it."""

    id: str | None = Field(None, description="the answer repeats it")
    parameters: InferenceParameters | None = None
    inputs: list[InferInput]
    outputs: list[InferOutput] | None = Field(None, description="left out: all")


class OutputTensor(Answer):
    """An output tensor."""

    name: str
    datatype: str
    shape: list[int]
    parameters: OutputParameters | None = None
    data: list[Any] | None = None


class InferenceAnswer(Answer):
    """An inference answer as JSON; binary tensors may follow it."""

    id: str | None = None
    model_name: str
    model_version: str
    parameters: AnswerParameters
    outputs: list[OutputTensor]
