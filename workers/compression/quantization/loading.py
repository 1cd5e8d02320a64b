"""Whether a file takes the process down that loads it: `python -m workers.compression.quantization.loading FILE`.

onnxruntime's optimisers have crashed on graphs of half floats; that must not be the job's own process.
"""

import subprocess
import sys
from pathlib import Path

from workers.compression.quantization.failures import QuantizationImpossible
from workers.export.sessions import open_session

ROOT = Path(__file__).parents[3]


def require_no_crash(path: Path) -> None:
    """Load the file on the CPU, in a process of its own. That it is refused there is no failure: a GPU may run it.

    Raises:
        QuantizationImpossible: if the process is killed by it.
    """
    command = [sys.executable, "-m", __name__, str(path.resolve())]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if ended.returncode < 0:
        raise QuantizationImpossible(
            f"onnxruntime crashes when it loads the variant (signal {-ended.returncode}); leave it out of "
            "`compression.quantize`, or take another backbone"
        )


if __name__ == "__main__":
    open_session(Path(sys.argv[1]), device="cpu", threads=1)
