"""The story of measuring a version again: data → its files on this host → verdicts. No file is made or changed."""

from models_store.models.measure import Remeasurement
from workers.stages.accept import judge
from workers.stages.context import Variant, Work
from workers.stories.supervised import measure_files, read_data


def run(work: Work) -> None:
    """Measure every file as the pipeline does, judge them by the version's spec, and tell the supervisor."""
    _, arrays = read_data(work)
    variants = {
        each["name"]: Variant(
            work.blobs.local(each["blob"]),
            parent=each["card"].get("parent"),
            made_by=each["card"].get("made_by"),
            stopped=each["card"].get("stopped"),
        )
        for each in work.assignment.variants or []
    }
    figures = measure_files(work, arrays, variants)
    work.reporter.phase("publishing")
    judged = judge(
        figures,
        sizes_bytes={name: variant.path.stat().st_size for name, variant in variants.items()},
        parents={name: variant.parent for name, variant in variants.items()},
        compression=work.spec.compression,
        stopped={name: variant.stopped for name, variant in variants.items() if variant.stopped is not None},
        batch_dependent=[name for name, variant in variants.items() if variant.batch_dependent],
    )
    work.reporter.say("result", Remeasurement(judged.measured, judged.defaults).as_document())
