"""Serving beside six frameworks: requests per second and latency on the same ONNX files, and the limit without HTTP.

    python -m benchmarks.serving [--quick] [--rounds N] [--seconds S] [--only NAME …] [--nets NET …] [--modes MODE …]
                                 [--environments DIR]

Espalier runs as `espalier up` starts it. The peers run in environments that the script makes and keeps, each with one
process per core, one thread per session, dynamic batching, and the decoding that we have. wrk posts a JPEG, or the
decoded image as a binary tensor (what can't take one is given base64 or a form), on the same cores. All servers take
turns in every round, and the limit is measured beside them: processes that run the net in a bare loop. The mode `held`
gives all of them one core, and oneDNN the instructions of AVX2; onnxruntime's own kernels can't be held down from
outside, and the nets are fp32 in both modes. wrk is a closed loop: see `client`.
"""

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks.serving import client, environments, nets, processes, tables
from benchmarks.serving.contest import Contest, espalier_up
from benchmarks.serving.nets import NETS
from benchmarks.serving.results import Results, figures_and_goals
from benchmarks.verdict import Goal, conclude

MODES = ("host", "held")


def main() -> None:
    """Measure in each mode, show the tables, and judge."""
    options = _options()
    if needed := client.missing():
        raise SystemExit(needed)
    processes.adopt_orphans()
    processes.end_well_on_sigterm()
    figures: dict[str, float] = {}
    goals: list[Goal] = []
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="serving-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        files = {net: nets.write(NETS[net], folder / f"{net}.onnx") for net in options.nets}
        home = nets.published(folder, files)
        for mode in options.modes:
            if mode == "held":
                os.sched_setaffinity(0, {min(cores)})
                os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"
            results = Results(mode)
            with espalier_up(home, folder) as ours:
                for net, file in files.items():
                    Contest(NETS[net], file, ours, folder=folder, options=options, results=results).run()
            os.sched_setaffinity(0, cores)
            tables.show(results)
            more_figures, more_goals = figures_and_goals(results)
            figures |= more_figures
            goals += more_goals
    conclude("serving", figures, goals=goals, binding=not options.quick)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of a second each, without a verdict")
    parser.add_argument("--rounds", type=int, default=4, help="turns of every server (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one measurement (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=environments.REQUIREMENTS, help="peers beside us; left out: all")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS), help="left out: both")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES), help="left out: both")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument(
        "--environments",
        type=Path,
        default=cache / "espalier-benchmarks",
        help="folder in which the peers' environments stay (%(default)s)",
    )
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1.0
    return options


if __name__ == "__main__":
    main()
