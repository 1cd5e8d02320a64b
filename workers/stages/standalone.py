"""Stage of the standalone variant: a file for use elsewhere, compared with what is served."""

from collections.abc import Iterator

from models_store.datasets.store import ManifestEntry
from models_store.errors import Invalid
from workers.export.verify import read_members
from workers.stages.context import Variant, Work
from workers.training.examples import Examples, Rows


def make_standalone(
    work: Work, entries: list[ManifestEntry], arrays: Examples, fp32: Variant
) -> tuple[dict[str, Variant], dict[str, str]]:
    """Return the task's standalone variant by name, where the spec wants one; and by name why it was not made."""
    name = work.task.standalone(work.spec)
    if name is None:
        return {}, {}
    path = work.staging / f"{name}.onnx"

    def files(rows: Rows) -> Iterator[bytes]:
        return read_members(work.blobs.local(work.dataset.content_blob), (entries[row].member for row in rows))

    try:
        facts = work.task.write_standalone(
            path, fixed=fp32.path, spec=work.spec, examples=arrays, files=files, settings=work.settings
        )
    except Invalid as error:
        work.reporter.warn(f"{name}: {error.detail}")
        return {}, {name: error.detail}
    return {name: Variant(path, parent="fp32", facts={"standalone": True} | facts)}, {}
