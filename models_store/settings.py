"""Settings from environment variables: the places of database, blobs and broker, and every limit."""

from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models_store import access


class Settings(BaseSettings):
    """All settings of a deployment; each is read from the environment variable of the same name in capitals."""

    # an error must not print what was given: it may be a key or a password
    model_config = SettingsConfigDict(env_file=None, extra="ignore", hide_input_in_errors=True)

    espalier_home: Path = Field(Path(".espalier"), description="folder for everything that has no URL of its own")
    database_url: str = Field("", description="SQLAlchemy URL; empty: an SQLite file in ESPALIER_HOME")
    blobs_url: str = Field("", description="fsspec URL of a folder (file://, s3://); empty: a folder in ESPALIER_HOME")
    broker_url: str = Field("", description="Redis or Valkey URL; empty: the local stack's socket in ESPALIER_HOME")
    weights_dir: Path | None = Field(
        None, description="folder of pretrained weights; empty: `weights` in ESPALIER_HOME"
    )
    work_dir: Path | None = Field(None, description="scratch of this host; empty: `work` in ESPALIER_HOME")
    device: Literal["auto", "cpu", "cuda", "tensorrt", "openvino"] = Field(
        "auto",
        description="auto: CUDA if a device is really there; cuda: never fall back to the CPU; cpu: never use a GPU; "
        "tensorrt, openvino: serve by that provider of onnxruntime or refuse to start, train on CUDA or the CPU",
    )
    api_keys: str = Field(
        "",
        repr=False,
        description="`owner:key,owner:key`, each key different and of 16 to 512 characters; empty: no keys, one "
        "owner, and connections from this machine only",
    )
    access_log: bool = Field(
        default=False, description="whether the API logs a line of JSON for each request: no query, key or body"
    )
    metrics_key: str = Field(
        "",
        repr=False,
        description="key that GET /metrics asks for as a bearer token; with API_KEYS, only this key's holder sees the "
        "names of owners and models there; empty: no key, and with API_KEYS no names",
    )
    allowed_hosts: str = Field(
        "",
        description="host names and addresses by which clients reach the API, `name,name`, beside localhost, "
        "127.0.0.1 and [::1]; with API_KEYS, `*` allows any",
    )
    cors_origins: str = Field(
        "",
        description="origins of web pages that may call the API, `https://app.example.org,http://localhost:3000`; "
        "empty: the API's own pages only",
    )

    grpc_port: int = Field(
        0, ge=0, le=65_535, description="port of the Open Inference Protocol over gRPC, without TLS; 0: none"
    )
    grpc_host: str = Field(
        "127.0.0.1", description="IP address of that port; one that other machines reach needs API_KEYS"
    )

    upload_max_bytes: int = Field(4 << 30, gt=0, description="largest archive, in bytes")
    weights_max_bytes: int = Field(4 << 30, gt=0, description="largest file of weights, in bytes")
    unpacked_max_bytes: int = Field(32 << 30, gt=0, description="largest sum of an archive's unpacked files, in bytes")
    dataset_max_files: int = Field(2_000_000, gt=0, description="largest number of files in one archive")
    image_max_bytes: int = Field(64 << 20, gt=0, description="largest image file, in bytes")
    image_max_pixels: int = Field(
        64_000_000, gt=0, description="largest number of pixels (width times height) of an image"
    )
    predict_max_bytes: int = Field(64 << 20, gt=0, description="largest body of POST /predict, in bytes")
    predict_max_inputs: int = Field(256, gt=0, description="largest number of examples in one POST /predict")
    predict_max_pixels: int = Field(
        512_000_000, gt=0, description="largest number of pixels of all images in one POST /predict, together"
    )
    predict_timeout_s: float = Field(
        30, gt=0, description="time for queueing, decoding and running one POST /predict before 504, in seconds"
    )
    predict_urls: bool = Field(
        default=False,
        description='whether `{"url": …}` is an input of POST /predict: the service then fetches files from public '
        "addresses, never from private ones",
    )
    predict_url_networks: str = Field(
        "",
        description="networks that files may be fetched from besides public addresses, `10.1.0.0/16,192.168.7.20`, as "
        "for an object store of one's own",
    )
    bodies_max_bytes: int = Field(
        256 << 20,
        gt=0,
        description="bytes of request bodies that the API processes of a host keep in memory at once before 503",
    )
    predict_queue: int = Field(1024, gt=0, description="examples that may wait for one model before 429")
    predict_queue_bytes: int = Field(
        256 << 20, gt=0, description="bytes of examples that may wait for one model before 429"
    )
    predict_wait_s: float = Field(
        0,
        ge=0,
        description="longest time that a prediction without a deadline may have to wait, by what was measured last, "
        "before 429, in seconds; a burst may exceed it by 0.5 s; 0: as long as 128 requests take, 0.1 s at least",
    )
    inference_lanes: int = Field(
        0, ge=0, description="threads that run one model; 0: one per CPU core that may be used (one on CUDA)"
    )
    api_processes: int = Field(
        0,
        ge=0,
        le=64,
        description="processes that share the API's port; 0: one per CPU core that may be used, 4 at most",
    )
    tune_device: bool = Field(
        default=True,
        description="whether the first load of a model on CUDA measures with which options it runs fastest (layout of "
        "channels, search for convolutions, buffers on the device, CUDA graphs), which takes some seconds; the choice "
        "is kept in WORK_DIR",
    )
    loaded_models_max_bytes: int = Field(
        0,
        ge=0,
        description="bytes that loaded models may take in all API processes together, as measured when each was "
        "loaded; the least recently used model is unloaded first. 0: half of the memory that is free at the first "
        "load (on CUDA 0.8 of the GPU's)",
    )

    database_wait_s: float = Field(
        5, gt=0, le=60, description="how long a call waits for a lock or a free connection before 503, in seconds"
    )
    event_streams_per_owner: int = Field(
        2000, gt=0, description="event streams that one owner may hold open in one API process before 429"
    )
    header_timeout_s: float = Field(
        10, gt=0, description="a request line and its headers must arrive within this time, in seconds"
    )
    body_idle_s: float = Field(60, gt=0, description="longest pause of a client that sends a body, in seconds")

    lease_s: float = Field(60, gt=0, description="how long a claim lasts without a heartbeat, in seconds")
    beat_s: float = Field(10, gt=0, description="time between two heartbeats, in seconds")
    beat_deadline_s: float = Field(
        40, gt=0, description="the trainer is killed after this time without a successful beat, in seconds"
    )
    stall_s: float = Field(900, gt=0, description="the trainer is killed after this time without progress, in seconds")
    stop_grace_s: float = Field(30, gt=0, description="time between SIGTERM and SIGKILL to a trainer, in seconds")
    backoff_s: float = Field(
        10, ge=0, description="wait before the first retry after a crash, in seconds; doubles up to 6 minutes"
    )
    max_crashes: int = Field(3, ge=0, description="number of crashes after which a job fails with `worker_lost`")
    warm_starter: bool = Field(
        default=True,
        description="whether each worker keeps a process that has imported torch and forks trainers, so that "
        "trainers start quickly; it takes about 570 MB, which its trainers share",
    )
    starter_forks: int = Field(200, gt=0, description="trainers that one starter forks before it is replaced")
    poll_s: float = Field(5, gt=0, description="how often an idle worker looks at the database, in seconds")
    reannounce_s: float = Field(30, gt=0, description="age at which a queued job is announced again, in seconds")
    checkpoint_s: float = Field(30, ge=0, description="least time between two checkpoints, in seconds")
    cache_max_bytes: int = Field(
        64 << 30, gt=0, description="largest sum of decoded datasets kept in WORK_DIR, in bytes"
    )
    measure_s: float = Field(4, gt=0, description="how long a job times its exported files, all together, in seconds")
    measure_limit_s: float = Field(
        180,
        gt=0,
        description="wall seconds after which a job measures its exported files with fewer rounds and fewer examples, "
        "as on a busy or slow host; the card records how many",
    )
    preview_keep_s: float = Field(
        86_400, ge=0, description="age at which an ended preview and its picture are deleted, in seconds"
    )
    blob_grace_s: float = Field(86_400, ge=0, description="age at which a blob without a row is swept, in seconds")

    @model_validator(mode="after")
    def _fill_from_home(self) -> Self:
        home = self.espalier_home.expanduser().resolve()
        if set("#?%") & set(str(home)):
            raise ValueError(
                f"ESPALIER_HOME is {home}; it becomes part of URLs, so it can't have `#`, `?` or `%` in it"
            )
        access.origins_in(self.cors_origins)
        access.networks_in(self.predict_url_networks)
        owners, hosts = access.owners_in(self.api_keys), access.hosts_in(self.allowed_hosts)
        if access.ANY_HOST in hosts and not owners:
            raise ValueError(
                "ALLOWED_HOSTS=* needs API_KEYS: without keys, any web page could control the service through a host "
                "name of its own; name the hosts, or set API_KEYS"
            )
        if access.is_reachable(access.address_of(self.grpc_host)) and self.grpc_port and not owners:
            raise ValueError(
                f"GRPC_HOST={self.grpc_host} would give everybody access, because API_KEYS is empty; set API_KEYS, or "
                "GRPC_HOST=127.0.0.1"
            )
        self.espalier_home = home
        self.database_url = self.database_url or f"sqlite:///{home / 'espalier.db'}"
        self.blobs_url = self.blobs_url or f"file://{home / 'blobs'}"
        self.broker_url = self.broker_url or f"redis+socket://{home / 'valkey.sock'}"
        self.weights_dir = (self.weights_dir or home / "weights").expanduser().resolve()
        self.work_dir = (self.work_dir or home / "work").expanduser().resolve()
        return self

    @cached_property
    def scratch(self) -> Path:
        """Return the scratch folder of this host, and create it if it is missing."""
        assert self.work_dir is not None
        self.work_dir.mkdir(parents=True, exist_ok=True)
        return self.work_dir

    @property
    def training_device(self) -> Literal["auto", "cpu", "cuda"]:
        """Return where workers train and measure: providers that compile are for serving alone."""
        return {"tensorrt": "cuda", "openvino": "cpu"}.get(self.device, self.device)  # type: ignore[return-value]

    @property
    def url_networks(self) -> list[str]:
        """Return the networks that files of predictions may be fetched from besides public addresses."""
        return access.networks_in(self.predict_url_networks)

    @property
    def owners(self) -> dict[str, str]:
        """Return key → owner; empty when the service asks for no key."""
        return access.owners_in(self.api_keys)
