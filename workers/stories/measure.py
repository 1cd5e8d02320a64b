"""Story of measuring a version again: data → its files on this host → verdicts. No file is made or changed."""

from models_store.models.measure import Remeasurement
from workers.stages.accept import judge
from workers.stages.context import Work
from workers.stages.data import read
from workers.stages.measure import measure_files, take_up


def run(work: Work) -> Remeasurement:
    """Measure every file as a training does, and judge them by the version's spec."""
    work, data = read(work)
    variants = take_up(work)
    figures = measure_files(work, data, variants)
    work.reporter.phase("publishing")
    verdicts = judge(figures, variants, compression=work.spec.compression)
    return Remeasurement(verdicts.measured, verdicts.defaults)
