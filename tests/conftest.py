"""What every test may ask for."""

import faulthandler

import pytest

#: What ends at once takes none of it; what a thread holds for good names the thread.
END_S = 60


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_unconfigure() -> None:
    """End a run that its own threads hold after the last test, and say which."""
    faulthandler.dump_traceback_later(END_S, exit=True)
