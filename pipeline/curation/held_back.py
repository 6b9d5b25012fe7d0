"""Days a blocking check has stopped: their tables stand for a person to look at, and no set takes them."""

from collections.abc import Iterable, Mapping

import orjson

from pipeline.store import TableStore, write_file


def note_checks(store: TableStore, asset: str, failed: Mapping[str, Iterable[str]]) -> None:
    """Record, for each day just written, the checks it failed; none frees the day."""
    path = store.root / "state" / "failed_checks.json"
    with store.lock("failed_checks"):
        held = _read(store)
        before = orjson.dumps(held)
        mine = held.setdefault(asset, {})
        for day, names in failed.items():
            mine.pop(day, None)
            if listed := sorted(names):
                mine[day] = listed
        if orjson.dumps(held) != before:
            write_file(path, orjson.dumps(held, option=orjson.OPT_SORT_KEYS))


def held_back(store: TableStore, assets: Iterable[str]) -> dict[str, list[str]]:
    """Day to the failed checks, as `asset.check`, of the days that failed one in any of the assets."""
    found: dict[str, list[str]] = {}
    for asset in assets:
        for day, names in _read(store).get(asset, {}).items():
            found.setdefault(day, []).extend(f"{asset}.{name}" for name in names)
    return dict(sorted(found.items()))


def _read(store: TableStore) -> dict[str, dict[str, list[str]]]:
    path = store.root / "state" / "failed_checks.json"
    return orjson.loads(path.read_bytes()) if path.exists() else {}
