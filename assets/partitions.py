"""The daily partitions every curated table shares."""

import dagster as dg

from assets.settings import load_settings

DAYS = dg.DailyPartitionsDefinition(start_date=load_settings().first_day.isoformat(), end_offset=1)
"""end_offset 1: today's partition exists, so that logs dropped now can be curated now."""
