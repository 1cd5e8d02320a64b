"""The story of measuring a version again: data → its files on this host → verdicts. No file is made or changed."""

from dataclasses import asdict

from workers.stages.accept import judge
from workers.stages.context import Form, Work
from workers.stories.supervised import measure_files, read_data


def run(work: Work) -> None:
    """Measure every file as the pipeline does, judge them by the version's spec, and tell the supervisor."""
    variants = {variant["name"]: variant for variant in work.assignment.variants or []}
    _, arrays = read_data(work)
    forms = {
        name: Form(
            work.blobs.local(variant["blob"]),
            parent=variant["card"].get("parent"),
            made_by=variant["card"].get("made_by"),
            stopped=variant["card"].get("stopped"),
        )
        for name, variant in variants.items()
    }
    figures = measure_files(work, arrays, forms)
    work.reporter.phase("publishing")
    judged = judge(
        figures,
        sizes_bytes={name: form.path.stat().st_size for name, form in forms.items()},
        parents={name: form.parent for name, form in forms.items()},
        compression=work.spec.compression,
        stopped={name: form.stopped for name, form in forms.items() if form.stopped is not None},
        batch_dependent=[name for name, form in forms.items() if form.batch_dependent],
    )
    work.reporter.say("result", asdict(judged))
