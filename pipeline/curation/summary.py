"""What a materialised partition says of itself."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Progress = Callable[[str], None]


def silent(_line: str) -> None:
    """A progress that is not shown."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of one written partition."""

    asset: str
    day: str
    rows_in: int
    """Rows the stage was given: raw records for trajectories, rows of the stage before for the others."""
    rows_by_reason: dict[str, int]
    """Rows written, by reason, `keep` for those still in."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Anything else worth a line in the UI."""

    @property
    def rows_out(self) -> int:
        """Rows written."""
        return sum(self.rows_by_reason.values())

    @property
    def num_kept(self) -> int:
        """Rows still in."""
        return self.rows_by_reason.get("keep", 0)
