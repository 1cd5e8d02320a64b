"""Story of a preview: a few examples, changed as training would change them, in one picture or page."""

from models_store.datasets.store import read_manifest
from models_store.jobs.results import Finished, Nothing
from models_store.tasks.rooms import contract_of
from workers.stages.context import Work
from workers.stages.data import auxiliary


def run(work: Work) -> Finished:
    """Make its files, and put them among the blobs."""
    work.reporter.phase("drawing")
    assert work.assignment.preview is not None, "a preview is asked for"
    content = work.blobs.local(work.dataset.content_blob)
    manifest = read_manifest(work.blobs.local(work.dataset.manifest_blob))
    made = work.task.preview(
        work.assignment.preview,
        manifest,
        content,
        auxiliary=auxiliary(content, work.dataset.auxiliary),
        folder=work.staging,
        settings=work.settings,
    )
    forms = contract_of(work.spec.task).preview_forms
    files = {forms[ending].file: work.blobs.put(path).sha256 for ending, path in made.items()}
    return Finished(Nothing().as_document(), files)
