"""The story of a preview: a few images, changed as training would change them, on one sheet."""

from models_store.datasets.store import read_manifest
from models_store.jobs.results import Finished, Nothing
from workers.stages.context import Work


def run(work: Work) -> None:
    """Draw the sheet, put it among the blobs, and tell the supervisor where it is."""
    work.reporter.phase("drawing")
    target = work.staging / "preview.png"
    assert work.assignment.preview is not None, "a preview is asked for"
    work.task.preview(
        work.assignment.preview,
        read_manifest(work.blobs.local(work.dataset.manifest_blob)),
        work.blobs.local(work.dataset.content_blob),
        target=target,
        settings=work.settings,
    )
    finished = Finished(Nothing().as_document(), {"preview": work.blobs.put(target).sha256})
    work.reporter.say("result", finished.as_document())
