"""The floor under the sandbox: bare forks of a process that has the same modules loaded, without any isolation.

`python -m benchmarks.forks PRELOAD` (a JSON list) answers each line of its input, a JSON list of code and count, with
the seconds that so many executions took: fork, compile and run the code, exit, wait.
"""

import gc
import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Load what the fork server loads, then answer."""
    # what the fork server itself uses: loaded from its folder, as it does
    sys.path.insert(0, str(Path(__file__).parents[1] / "pipeline" / "replay" / "sandbox"))
    from preload import preload  # pyright: ignore[reportMissingImports]

    preload(json.loads(sys.argv[1]))
    gc.collect()
    gc.freeze()
    gc.disable()
    for line in sys.stdin:
        code, count = json.loads(line)
        start = time.perf_counter()
        for _ in range(count):
            execute(code)
        print(time.perf_counter() - start, flush=True)


def execute(code: str) -> None:
    """Fork, run, wait."""
    child = os.fork()
    if child == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            exec(compile(code, "<code>", "exec"), {})
        finally:
            os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
    main()
