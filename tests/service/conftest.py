from collections.abc import Iterator

import pytest

from tests import samples
from tests.service.live_service import Service, running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(samples.quick_settings(tmp_path_factory.mktemp("service") / "home")) as live:
        yield live
