"""One exported net for all tests that only read it: an export takes seconds."""

from pathlib import Path

import pytest

from tests.workers import colour_nets


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX file of `colour_nets.a_learned_net()`; not to be changed."""
    return colour_nets.export_net(colour_nets.a_learned_net(), tmp_path_factory.mktemp("exported") / "fp32.onnx")
