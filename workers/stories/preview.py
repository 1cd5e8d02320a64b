"""Story of a preview: a few examples, changed as training would change them, in one picture."""

from models_store.datasets.store import read_manifest
from models_store.jobs.results import Finished, Nothing
from workers.stages.context import Work


def run(work: Work) -> Finished:
    """Draw the picture, and put it among the blobs."""
    work.reporter.phase("drawing")
    assert work.assignment.preview is not None, "a preview is asked for"
    target = work.staging / "preview.png"
    content = work.blobs.local(work.dataset.content_blob)
    manifest = read_manifest(work.blobs.local(work.dataset.manifest_blob))
    work.task.preview(work.assignment.preview, manifest, content, target=target, settings=work.settings)
    return Finished(Nothing().as_document(), {"preview": work.blobs.put(target).sha256})
