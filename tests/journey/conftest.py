from collections.abc import Iterator

import pytest

from tests import samples
from tests.live_stack import LiveService, running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    with running(samples.quick_settings(tmp_path_factory.mktemp("stack") / "home")) as live:
        yield live
