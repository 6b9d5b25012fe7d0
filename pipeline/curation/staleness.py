"""Which days would find other duplicates now, because an earlier day was written since."""

import hashlib
from collections.abc import Iterable

import orjson
import polars as pl

from pipeline.dedup.lookup import relevant_version
from pipeline.dedup.signatures import INDEX
from pipeline.store import TableStore, write_file

INDEX_ASSET = "duplicate_index"
"""The table of fingerprints beside `screened`; a day's holds that day's rows alone."""
PROMPT_INDEX = "prompt_index"
"""The same beside `prompts`, of the prompts still in."""
LOOKUPS = {"screened": INDEX_ASSET, "prompts": PROMPT_INDEX}
"""The tables that look for duplicates on earlier days, and the index each looks in."""


def earlier_index(store: TableStore, day: str, asset: str = INDEX_ASSET) -> pl.LazyFrame:
    """The index rows of every earlier day."""
    days = [known for known in store.days(asset) if known < day]
    paths = [path for known in days for path in store.shards(asset, known)]
    return pl.scan_parquet(paths) if paths else pl.LazyFrame(schema=INDEX)


def stale_days(store: TableStore, assets: Iterable[str] = tuple(LOOKUPS)) -> list[tuple[str, str]]:
    """Days of which a table's duplicate lookup would rest on other rows now than when it was made, ascending.

    With each day comes a version, another one whenever the day is stale in another way. A day is compared again only
    where an earlier index or its own changed since it was last; what was found is remembered in `state/staleness.json`,
    so that a sensor may ask every few minutes.
    """
    path = store.root / "state" / "staleness.json"
    with store.lock("staleness"):
        known: dict[str, list[str]] = orjson.loads(path.read_bytes()) if path.exists() else {}
        fresh = {name: held for name, held in known.items() if name.partition("/")[0] not in assets}
        stale: dict[str, str] = {}
        for asset in (name for name in assets if name in LOOKUPS):
            for day, inputs in _inputs(store, LOOKUPS[asset]).items():
                manifest = store.manifest(asset, day)
                if manifest is None:
                    continue
                held = known.get(f"{asset}/{day}")
                version = held[2] if held is not None and held[:2] == inputs else _version_now(store, asset, day)
                fresh[f"{asset}/{day}"] = [*inputs, version]
                if version != manifest["versions"][LOOKUPS[asset]]:
                    stale[day] = stale.get(day, "") + version
        if fresh != known:
            write_file(path, orjson.dumps(fresh, option=orjson.OPT_SORT_KEYS))
    return sorted(stale.items())


def _inputs(store: TableStore, index: str) -> dict[str, list[str]]:
    """What a day's lookup rests on, for every indexed day: a hash over the earlier indexes, and its own version."""
    found = {}
    earlier = hashlib.sha256()
    for day in store.days(index):
        version = store.version(index, day) or ""
        found[day] = [earlier.hexdigest()[:12], version]
        earlier.update(f"{day}:{version}\n".encode())
    return found


def _version_now(store: TableStore, asset: str, day: str) -> str:
    index = LOOKUPS[asset]
    return relevant_version(store.scan(index, day).collect(), earlier_index(store, day, index))
