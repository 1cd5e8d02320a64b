"""Story of predicting many examples: the version's file → a table of its answers → the store."""

from models_store.jobs.results import Finished, Predicted
from models_store.models.dataset_predictions import TABLE
from workers.stages.context import Work
from workers.stages.predict import open_model, predict


def run(work: Work) -> Finished:
    """Predict every example, write the table, and put it among the blobs."""
    work.reporter.phase("predicting")
    model = open_model(work)
    table = predict(work, model)
    blob = work.blobs.put(table.path)
    result = Predicted(
        model=model.asked["model"],
        version=model.asked["version"],
        variant=model.variant,
        provider=model.provider,
        format=model.asked["format"],
        size_bytes=blob.size_bytes,
        rows=table.rows,
        failed=table.failed,
        compared=table.comparison.compared,
        metrics=table.comparison.metrics(),
    )
    return Finished(result.as_document(), {TABLE: blob.sha256})
