"""The child process that compares mathematics: one JSON request a line in, one JSON reply a line out.

Run by path, with nothing of this project imported. Symbolic algebra on text from traces may never end or may eat all
memory, and math-verify's own time limit is a signal, which works on the main thread only. Here it is the main thread,
the memory is limited, and an alarm ends the process if the parent no longer can.
"""

import json
import logging
import resource
import signal
import sys

MAX_MEMORY_BYTES = 4 * 2**30


def main() -> None:
    """Say ready once everything is imported, then answer requests until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    logging.disable(logging.CRITICAL)
    compare("1", "1")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, request["timeout_s"] + 1)
        reply = compare(request["answer"], request["truth"])
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


def compare(answer: str, truth: str) -> dict[str, object]:
    """Whether two LaTeX texts are equal (None if one does not parse), and their values if both are plain numbers."""
    from math_verify import LatexExtractionConfig, parse, verify
    from sympy import Expr

    # LaTeX extraction only: the plain-expression one hands text to sympy's parse_expr, which evaluates it as Python.
    config = [LatexExtractionConfig()]
    try:
        # 0 means no time limit: math-verify's own is a signal, and this process has its alarm.
        parsed = [
            parse(f"${side}$", config, fallback_mode="no_fallback", parsing_timeout=0) for side in (truth, answer)
        ]
        if not all(parsed):
            return {"equal": None}
        if verify(parsed[0], parsed[1], timeout_seconds=0):
            return {"equal": True}
        if all(isinstance(side[0], Expr) for side in parsed) and (parsed[0][0] - parsed[1][0]).doit().expand() == 0:
            return {"equal": True}  # math-verify compares a lone symbol by name: x is not 1 + x - 1 to it
        values = [float(side[0].evalf(15)) for side in parsed if getattr(side[0], "is_number", False)]
    except (Exception, RecursionError, MemoryError) as error:
        return {"equal": None, "error": type(error).__name__}
    return {"equal": False, "values": values if len(values) == 2 else None}


if __name__ == "__main__":
    main()
