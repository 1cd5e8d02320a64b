import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.cli.stacks import Up, start_up


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> Iterator[None]:
    """What a shell runs in its background ignores SIGINT, and so would every stack that the tests start."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    stack = start_up(tmp_path_factory.mktemp("shared") / "home")
    yield stack
    stack.end(signal.SIGTERM)
