"""Story of a training, and of compressing what another job has trained: from the dataset to a published version.

It reads an assignment, works in its staging folder, puts finished files among the blobs, and returns what to publish.
Each stage can be left at a checkpoint and taken up by another process.
"""

from models_store.models.publish import Publication
from workers.stages.accept import accept
from workers.stages.context import Work
from workers.stages.data import read
from workers.stages.evaluate import evaluate, warn_of_result
from workers.stages.export import export, stamp
from workers.stages.measure import measure
from workers.stages.prune import prune
from workers.stages.publish import Findings, publish
from workers.stages.quantize import quantize
from workers.stages.standalone import add_standalone
from workers.stages.train import train
from workers.stages.verify import verify


def run(work: Work) -> Publication:
    """Do the job: every stage in its order."""
    work, data = read(work)
    trained = train(work, data.examples)
    variants = prune(work, data, trained)  # each cut is followed by a recovery
    variants = export(work, data, variants)
    variants = quantize(work, data, variants)
    variants = verify(work, data, variants)
    variants = add_standalone(work, data, variants)
    examined = evaluate(work, data, variants.baseline)
    variants, figures = measure(work, data, variants)
    warnings = warn_of_result(work, data, trained, examined)
    work.reporter.phase("publishing")
    stamp(variants, figures, learned=work.task.learned(data.examples))
    verdicts = accept(work, variants, figures)
    return publish(work, data, trained, variants, Findings(examined, verdicts, warnings))
