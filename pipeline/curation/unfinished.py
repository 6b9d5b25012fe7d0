"""What killed runs left aside under the data root, and would be taken up or overwritten by nobody."""

import os
import re
from collections.abc import Iterable

from pipeline.export.snapshot import remove_unfinished_snapshots
from pipeline.store import TableStore, is_alive

_ASIDE = re.compile(r"^\..*\.(\d+)\.tmp$")
"""`.<name>.<process>.tmp`, as everything that writes aside and renames calls it."""


def remove_unfinished(store: TableStore, set_names: Iterable[str]) -> None:
    """Remove half-written partitions, snapshots and files whose writer is no more; a living one is waited for."""
    store.sweep()
    for name in set_names:
        remove_unfinished_snapshots(store, name)
    for folder, _, files in os.walk(store.root):
        for file in files:
            told = _ASIDE.match(file)
            if told and not is_alive(int(told[1])):
                os.unlink(os.path.join(folder, file))  # noqa: PTH108, PTH118  # names that are no text, too
