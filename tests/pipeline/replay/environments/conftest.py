"""Distributions that register environment classes, made for one test."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

Register = Callable[[str, str], None]


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Register:
    """Installs source code as the module `shop` of a distribution; `names` are lines of its entry points."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(source: str, names: str) -> None:
        (tmp_path / "shop.py").write_text(textwrap.dedent(source))
        info = tmp_path / "shop-2.1.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 2.1\n")
        (info / "entry_points.txt").write_text(f"[toolwise.environments]\n{textwrap.dedent(names)}\n")

    return install
