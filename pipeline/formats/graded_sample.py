"""Test samples of the GRADE project: traces of other formats under `raw`, beside what a grader expects of them."""

from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed


class GradedSample:
    """A container only: the records come out and are recognised by their own formats."""

    name = "graded_sample"

    def unpack(self, value: Any) -> list[Any] | None:
        """What stands under `raw`, of the sample itself or of each of its fixtures or records."""
        if not isinstance(value, dict) or not isinstance(value.get("sample"), str) or "corpus" not in value:
            return None
        if isinstance(value.get("raw"), dict):
            return [value["raw"]]
        held = value.get("fixtures", value.get("records"))
        if not isinstance(held, list) or not held:
            return None
        raws = [entry.get("raw") if isinstance(entry, dict) else None for entry in held]
        return raws if all(isinstance(raw, dict) for raw in raws) else None

    def detects(self, record: Any) -> bool:
        """Never: a sample is no trace until it is unpacked."""
        return False

    def parse(self, record: Any) -> Parsed:
        """Raises FormatError: there is nothing to parse before unpacking."""
        raise FormatError(f"graded_sample: want the record under `raw`, found {sorted(record)}; unpack it first")


GRADED_SAMPLE = GradedSample()
