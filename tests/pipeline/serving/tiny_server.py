"""`tiny_server.py PORT BEHAVIOUR...`: a server that starts, lives and ends as its command line says."""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Answers /health and, with the key, /v1/models."""

    def do_GET(self) -> None:
        """Say whether it is well, or what it serves."""
        if self.path == "/health":
            self.tell(503 if "ill" in sys.argv else 200, {})
        elif self.headers["Authorization"] != f"Bearer {os.environ['TINY_KEY']}":
            self.tell(401, {})
        else:
            self.tell(200, {"data": [{"id": "another" if "another" in sys.argv else "served"}]})

    def do_POST(self) -> None:
        """Die."""
        os._exit(3)

    def tell(self, status: int, content: Any) -> None:
        """Send the answer."""
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    """Behave."""
    print(f"pid {os.getpid()}", flush=True)
    if "stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["setsid", "sh", "-c", "trap '' TERM; while true; do sleep 1; done"])
        print(f"pid {child.pid}", flush=True)
    else:
        signal.signal(signal.SIGTERM, lambda _signal, _frame: (print("bye", flush=True), os._exit(0)))
    if "slow" in sys.argv:
        time.sleep(1)
    if "fails" in sys.argv:
        sys.exit("tiny_server.py: error: unrecognized arguments: --fails")
    if "hungry" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()


if __name__ == "__main__":
    main()
