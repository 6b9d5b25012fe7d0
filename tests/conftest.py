"""What holds for every test."""

import os
from collections.abc import Generator

import pytest

from pipeline.errors import SandboxUnavailableError

REQUIRED = "TOOLWISE_REQUIRE_SANDBOX"
"""Set by .ci/run: there a machine that cannot isolate code is an error and no excuse."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """Skip what needs the sandbox on a machine that cannot isolate code, saying why."""
    try:
        return (yield)
    except SandboxUnavailableError as error:
        if os.environ.get(REQUIRED):
            raise
        pytest.skip(f"{error} (an error where {REQUIRED} is set)")
