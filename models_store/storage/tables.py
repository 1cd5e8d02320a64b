"""The tables. Times are seconds since the epoch by the database's clock; ids are opaque, sortable and prefixed."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    false,
    literal_column,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

dataset = Table(
    "dataset",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", String(100), nullable=False),
    Column("name", String(200), nullable=False),
    Column("digest", String(64), nullable=False),  # of the content: split, label and SHA-256 of every file
    Column("content_blob", String(64), nullable=False),  # a stored zip: one member per distinct file
    Column("manifest_blob", String(64), nullable=False),  # JSON lines, one per example
    Column("card", JSON, nullable=False),  # classes, counts, size_bytes …
    Column("report", JSON, nullable=False),  # the checks
    Column("description", Text),
    Column("tags", JSON, nullable=False, default=list, server_default="[]"),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("owner", "digest"),
)

job = Table(
    "job",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", String(100), nullable=False),
    Column("kind", String(20), nullable=False, default="train", server_default="train"),  # see jobs.kinds
    Column("parent_id", String(40)),  # the search, cross-validation or repetition that this is a part of
    Column("number", Integer),  # among its parent's children, from 0
    Column("parameters", JSON),  # what a trial changes in its parent's spec: dotted path → value
    Column("name", String(200), nullable=False),
    Column("dataset_id", String(40)),  # none: the task has no data. No foreign key: a dataset may go after its jobs
    Column("spec", JSON, nullable=False),  # fully resolved
    Column("warnings", JSON, nullable=False),
    Column("spec_sha256", String(64), nullable=False),
    Column("state", String(20), nullable=False),
    Column("phase", String(20)),
    Column("priority", Integer, nullable=False, default=0),
    Column("cancel_requested_at", Double),
    Column("not_before", Double, nullable=False),
    Column("fence", Integer, nullable=False, default=0),
    Column("lease_owner", String(200)),
    Column("lease_expires_at", Double),
    Column("crashes", Integer, nullable=False, default=0),
    Column("max_crashes", Integer, nullable=False),
    Column("progress", JSON, nullable=False),  # {"fraction", "epoch", "epochs", …} of the phase
    Column("checkpoints", JSON, nullable=False),  # SHA-256 of the newest two, newest first
    Column("result", JSON),
    Column("files", JSON(none_as_null=True)),  # made besides a model: report, weights, answers … → SHA-256
    Column("problem", JSON),
    Column("wake_sent_at", Double),
    Column("event_seq", Integer, nullable=False, default=0),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("deleted_at", Double),  # hidden since then; the row stays while the version that it made is there
    Column("traceparent", String(55)),  # of the request that made it (W3C Trace Context), where there are traces
    Index(None, "parent_id", "number", unique=True),  # no child is submitted twice, whoever does it
    Index(None, "parent_id", "id"),
    Index(None, "dataset_id", "state"),
)

# In the order in which jobs are claimed, with all that a claim and a wake-up ask of a row: nothing is sorted, and rows
# that wait for a retry are passed over without being read.
Index("ix_job_claimed", job.c.state, job.c.priority.desc(), job.c.id, job.c.not_before, job.c.wake_sent_at)
# Lists leave children out, of which a search may have a thousand between two jobs of a page, and previews, of which a
# user may have asked for as many. Statements have the conditions as they stand here, without parameters.
IS_PREVIEW = job.c.kind == literal_column("'preview'")
IS_LISTED = and_(job.c.parent_id.is_(None), job.c.kind != literal_column("'preview'"))
Index("ix_job_listed", job.c.owner, job.c.id, sqlite_where=IS_LISTED, postgresql_where=IS_LISTED)
Index("ix_job_listed_by_state", job.c.owner, job.c.state, job.c.id, sqlite_where=IS_LISTED, postgresql_where=IS_LISTED)
Index("ix_job_previews", job.c.owner, job.c.id, sqlite_where=IS_PREVIEW, postgresql_where=IS_PREVIEW)

attempt = Table(
    "attempt",
    metadata,
    Column("job_id", String(40), ForeignKey("job.id"), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("host", String(200), nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("pid_started", String(40), nullable=False),  # a pid alone may have been given to another process
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("outcome", String(40)),
    Column("worker_id", String(40)),  # none: of an earlier release
    PrimaryKeyConstraint("job_id", "fence"),
)

job_event = Table(
    "job_event",
    metadata,
    Column("job_id", String(40), ForeignKey("job.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("kind", String(20), nullable=False),  # state, phase, progress, metrics, log
    Column("data", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("job_id", "seq"),
)

# A job has some ten phases among thousands of other events.
_is_phase = job_event.c.kind == "phase"
Index("ix_job_event_phase", job_event.c.job_id, job_event.c.seq, sqlite_where=_is_phase, postgresql_where=_is_phase)

# Lines of its log are as rare (`jobs.logs`).
HAS_LINE = "kind IN ('log', 'state', 'child')"
Index(
    "ix_job_event_line",
    job_event.c.job_id,
    job_event.c.seq,
    sqlite_where=text(HAS_LINE),
    postgresql_where=text(HAS_LINE),
)

# A worker's main process; it takes its row away when it ends.
worker = Table(
    "worker",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("host", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", String(40), nullable=False),
    Column("devices", JSON, nullable=False),
    Column("slots", Integer, nullable=False),  # jobs at the same time
    Column("started_at", Double, nullable=False),
    Column("beat_at", Double, nullable=False),
)

# Rare events that no row remembers for good; a row for each name is there from the start.
tally = Table(
    "tally",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("count", BigInteger, nullable=False),
)

# What finished stages took, for estimates: outlives its job, and is no part of it.
stage_cost = Table(
    "stage_cost",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("job_id", String(40), nullable=False),
    Column("host", String(200), nullable=False),
    Column("stage", String(20), nullable=False),
    Column("seconds", Double, nullable=False),
    Column("memory_bytes", BigInteger),  # peak of the trainer's process
    Column("gpu_memory_bytes", BigInteger),  # peak of its GPU's allocator
    Column("features", JSON, nullable=False),  # see stage_work.Features
    Column("created_at", Double, nullable=False),
    Index(None, "stage", "id"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", String(100), nullable=False),
    Column("route", String(100), nullable=False),
    Column("key", String(255), nullable=False),
    Column("body_sha256", String(64), nullable=False),
    Column("response", JSON),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("owner", "route", "key"),
)

model = Table(
    "model",
    metadata,
    Column("owner", String(100), nullable=False),
    Column("name", String(100), nullable=False),
    Column("description", Text),
    Column("tags", JSON, nullable=False, default=list, server_default="[]"),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("owner", "name"),
)

# Never deleted: a number that was given once is never given again, also when its version or its model was deleted.
version_counter = Table(
    "version_counter",
    metadata,
    Column("owner", String(100), nullable=False),
    Column("model", String(100), nullable=False),
    Column("last", Integer, nullable=False),
    PrimaryKeyConstraint("owner", "model"),
)

registry_change = Table(
    "registry_change",
    metadata,
    Column("count", BigInteger, nullable=False),
)
"""one row: how many times the meaning of references may have changed"""

version = Table(
    "version",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", String(100), nullable=False),
    Column("model", String(100), nullable=False),
    Column("number", Integer, nullable=False),
    Column(
        "job_id", String(40), ForeignKey("job.id"), nullable=False, unique=True
    ),  # one model per job, whatever happens
    Column("dataset_id", String(40)),  # none: the task has no data
    Column("default_variant", String(60), nullable=False),  # on the host that made it
    Column("defaults", JSON, nullable=False, server_default="{}"),  # provider → variant that answers there
    Column("weights_blob", String(64)),  # the trained net as safetensors: what other jobs start from, or learn from
    Column("auxiliary_blobs", JSON, nullable=False, default=dict, server_default="{}"),  # a vocabulary …: name → file
    Column("golden_blob", String(64)),  # a few validation examples and what each file answers, see models.golden
    Column("card", JSON, nullable=False),  # labels, input, metrics, spec digest, dataset digest
    Column("description", Text),
    Column("tags", JSON, nullable=False, default=list, server_default="[]"),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("owner", "model", "number"),
)

weights = Table(
    "weights",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", String(100), nullable=False),
    Column("name", String(200), nullable=False),
    Column("blob", String(64), nullable=False),  # a safetensors file that its owner has sent
    Column("size_bytes", BigInteger, nullable=False),
    Column("card", JSON, nullable=False),  # tensors, parameters, dtypes
    Column("created_at", Double, nullable=False),
    UniqueConstraint("owner", "blob"),
)

variant = Table(
    "variant",
    metadata,
    Column("version_id", String(40), ForeignKey("version.id"), nullable=False),
    Column("name", String(60), nullable=False),
    Column("blob", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("card", JSON, nullable=False),  # what it is made of; measured: provider → figures, accepted, and why not
    Column("accepted", Boolean, nullable=False),  # on some provider: it passed its gate and is faster than its parent
    PrimaryKeyConstraint("version_id", "name"),
)

alias = Table(
    "alias",
    metadata,
    Column("owner", String(100), nullable=False),
    Column("model", String(100), nullable=False),
    Column("name", String(60), nullable=False),
    Column("version_id", String(40), ForeignKey("version.id"), nullable=False),
    Column("variant", String(60)),  # empty: the version's default
    Column("weight", Double, nullable=False, server_default="1"),  # among its targets
    Column("pinned", Boolean, nullable=False, server_default=false()),
    Column("updated_at", Double, nullable=False),
    PrimaryKeyConstraint("owner", "model", "name"),
)

# What an alias names besides its first target: more targets, and a shadow with what was counted of it.
alias_target = Table(
    "alias_target",
    metadata,
    Column("owner", String(100), nullable=False),
    Column("model", String(100), nullable=False),
    Column("alias", String(60), nullable=False),
    Column("position", Integer, nullable=False),
    Column("role", String(10), nullable=False),  # live, shadow
    Column("version_id", String(40), ForeignKey("version.id"), nullable=False),
    Column("variant", String(60)),  # empty: the version's default
    Column("weight", Double, nullable=False),  # among the targets; of a shadow its share of the requests
    Column("compared", BigInteger, nullable=False, server_default="0"),  # examples
    Column("agreed", BigInteger, nullable=False, server_default="0"),
    Column("failed", BigInteger, nullable=False, server_default="0"),
    Column("dropped", BigInteger, nullable=False, server_default="0"),
    Column("live_s", Double, nullable=False, server_default="0"),
    Column("shadow_s", Double, nullable=False, server_default="0"),
    PrimaryKeyConstraint("owner", "model", "alias", "position"),
)
