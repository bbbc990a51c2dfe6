"""Property tests draw the same examples every time, and a busy machine does not fail them."""

import pytest
from engine import ENGINES, Engine
from hypothesis import settings

settings.register_profile("seeded", derandomize=True, deadline=None, database=None)
settings.load_profile("seeded")


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Each engine of these tests, compiled and Verilated once by whichever process comes first."""
    return Engine.shared(request.param, tmp_path_factory)
