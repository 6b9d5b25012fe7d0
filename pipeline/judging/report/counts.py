"""What became of the labels that a calibration was given."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """Labelled rows, by what became of them, and the questions asked about those that reached the judge."""

    given: int
    """Rows with a label of this rubric."""
    outdated: int
    """Of these, rows labelled only for criteria that have changed their meaning since, or are not asked."""
    missing: int
    """Rows that no table of the days searched holds."""
    out_before: int
    """Rows that an earlier gate put out: of what the judge never sees, nothing is promised."""
    failed: int
    """Rows of which a question failed; a failure is no verdict, so they are left out."""
    used: int
    """Rows the calibration rests on."""
    questions: int
    failures: dict[str, int]
    """Failed questions by what went wrong."""

    @property
    def told_failures(self) -> str:
        """Failed questions in words."""
        return ", ".join(f"{failure} ({number:,})" for failure, number in self.failures.items()) or "none failed"

    @property
    def left_out(self) -> dict[str, int]:
        """Rows not used, by why; only what occurred."""
        told = {
            "labelled for criteria that have changed their meaning, or are not asked": self.outdated,
            "in no table of the days searched": self.missing,
            "put out before the judge": self.out_before,
            "the judge failed on them": self.failed,
        }
        return {why: number for why, number in told.items() if number}
