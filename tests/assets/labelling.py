"""The page of `toolwise label` on a port of a test's own."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from assets.labelling.server import LabelServer, listen
from assets.labelling.session import Session
from pipeline.curation.labelling import draw_rows
from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Rubric
from pipeline.store import TableStore
from tests.chromium import wait_for
from tests.labelling import DAY, write_judged_tables, write_prompts_tables

CONFIG = JudgeConfig()


@dataclass(frozen=True, slots=True)
class Labelling:
    """A page that is served, and what it stores."""

    session: Session
    address: str
    port: int
    token: str
    client: httpx.Client

    def get(self, path: str = "", **headers: str) -> httpx.Response:
        """A page or a call that only reads."""
        return self.client.get(self.address + path, headers=headers)

    def post(self, path: str, held: Any, **headers: str) -> httpx.Response:
        """A call as the page makes it; headers named here replace its own, with `_` for `-`; empty: left out."""
        own = {"origin": f"http://127.0.0.1:{self.port}", "sec-fetch-site": "same-origin"}
        given = (
            own | {"content-type": "application/json"} | {key.replace("_", "-"): each for key, each in headers.items()}
        )
        return self.client.post(
            self.address + path, json=held, headers={key: each for key, each in given.items() if each}
        )

    def place_of(self, subject_id: str) -> int:
        """Where a row stands in the order."""
        return self.session.drawn.sample["subject_id"].to_list().index(subject_id)


@contextmanager
def labelling(
    store: TableStore, rows: Sequence[dict[str, Any]], *, by: str = "ann", rubric: Rubric = "trajectories"
) -> Iterator[Labelling]:
    """The page over these judged rows, until the block ends."""
    write = write_judged_tables if rubric == "trajectories" else write_prompts_tables
    write(store, rows)
    drawn = draw_rows(store, CONFIG, rubric, [DAY], number=100, by=by)
    session = Session(store, CONFIG, drawn, by)
    with listen(0) as listening:
        place = LabelServer(session, listening)
        server = place.server()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            wait_for(lambda: server.started, "the page", within_s=10)
            with httpx.Client() as client:
                yield Labelling(session, place.address, listening.getsockname()[1], place.token, client)
        finally:
            server.should_exit = True
            thread.join()
