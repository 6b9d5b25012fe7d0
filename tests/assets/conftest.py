"""The command line over folders of its own."""

from pathlib import Path

import pytest

from tests.curating import Toolwise


@pytest.fixture
def toolwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Toolwise:
    """The `toolwise` command with an empty data root."""
    return Toolwise(tmp_path, monkeypatch, capfd)
