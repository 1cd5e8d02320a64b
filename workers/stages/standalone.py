"""Stage of the standalone variant: a file for use elsewhere, compared with what is served."""

from models_store.errors import Invalid
from workers.compression.gate import BASELINE
from workers.stages.context import Work
from workers.stages.data import Data
from workers.stages.variant import Variant, Variants


def add_standalone(work: Work, data: Data, variants: Variants) -> Variants:
    """Return the variants with the task's standalone one, where the spec wants it; or with why it is not made."""
    name = work.task.standalone(work.spec)
    if name is None:
        return variants
    path = work.staging / f"{name}.onnx"
    try:
        facts = work.task.write_standalone(
            path,
            fixed=variants.baseline.path,
            spec=work.spec,
            examples=data.examples,
            files=data.files,
            settings=work.settings,
        )
    except Invalid as error:
        work.reporter.warn(f"{name}: {error.detail}")
        return variants.without({name: error.detail})
    return variants.with_standalone(name, Variant(path, parent=BASELINE, standalone=facts))
