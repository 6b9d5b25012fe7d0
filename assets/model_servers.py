"""The model servers of this process: one a configuration, alive until the run that wanted it ends."""

import atexit
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.serving.endpoint import ModelServer

_servers: dict[str, ModelServer] = {}
_num_holding = 0


def server_of(key: str, make: Callable[[], ModelServer]) -> ModelServer:
    """The server under `key`, made if there is none yet. It starts when somebody asks it something."""
    if key not in _servers:
        _servers[key] = make()
    return _servers[key]


@contextmanager
def servers_held() -> Iterator[None]:
    """Keep servers from one run to the next: a command of several runs starts its server once."""
    global _num_holding
    _num_holding += 1
    try:
        yield
    finally:
        _num_holding -= 1
        end_servers()


def end_servers() -> None:
    """End every server, unless somebody still holds them."""
    if _num_holding:
        return
    while _servers:
        _, server = _servers.popitem()
        server.close()


atexit.register(end_servers)
