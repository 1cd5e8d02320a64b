"""Environments of the peers: one for each, made by uv and kept for the next run."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

UV = Path(__file__).parent.parent.parent / "tools" / "uv"
SHARED = ("onnxruntime==1.31.1", "simplejpeg==1.9.0", "pillow==13.0.0")
MADE = ".made"
REQUIREMENTS = {  # the newest releases of November 2026
    "mosec": ("mosec==0.9.8", "numpy==2.4.6"),
    "litserve": ("litserve==0.2.19", "numpy==2.4.6"),
    "bentoml": ("bentoml==1.4.39", "numpy==2.4.6"),
    "mlserver": ("mlserver==1.7.1", "numpy==2.4.6", "uvloop==0.21.0"),  # its workers die with uvloop 0.22 and later
    "ray": ("ray[serve]==2.60.0", "numpy==2.4.6"),
    "pytriton": ("nvidia-pytriton==0.7.0", "numpy==1.26.4"),
    "fastapi": ("fastapi==0.165.0", "uvicorn[standard]==0.54.0", "numpy==2.4.6"),
}


class EnvironmentFailed(Exception):
    """The environment can't be made here; the message says why."""


def made(peer: str, folder: Path) -> Path:
    """Return the Python of a peer's environment below `folder`; make it where an earlier run has not.

    Raises:
        EnvironmentFailed: with the end of the installer's output.
    """
    wanted = [*REQUIREMENTS[peer], *SHARED]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256("\n".join([version, *wanted]).encode()).hexdigest()[:8]
    environment = folder / f"{peer}-{digest}"
    python = environment / "bin" / "python"
    if (environment / MADE).exists():
        return python
    print(f"making the environment of {peer}: {', '.join(wanted)}", flush=True)
    shutil.rmtree(environment, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    _run(str(UV), "venv", "--quiet", "--python", version, str(environment))
    _run(str(UV), "pip", "install", "--quiet", "--python", str(python), *wanted)
    (environment / MADE).touch()
    return python


def _run(*command: str) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise EnvironmentFailed(ended.stderr.strip()[-500:])
