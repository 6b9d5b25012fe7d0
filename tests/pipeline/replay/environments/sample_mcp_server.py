"""A server of the Model Context Protocol for tests: `python sample_mcp_server.py stdio|http [PORT [stateless]]`."""

import os
import subprocess
import sys
import time

from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Image

SERVER = MCPServer("sample", version="1.5", log_level="ERROR")
NOTES: dict[str, list[str]] = {}


def session_of(context: Context) -> str:
    """Over HTTP one process serves many sessions; over stdio there is one."""
    return str(context.headers.get("mcp-session-id")) if context.headers else ""


@SERVER.tool(structured_output=False)
def echo(text: str) -> str:
    """The text."""
    return text


@SERVER.tool()
def measure(width: int, height: int) -> dict[str, int]:
    """The area, as a structured result."""
    return {"area": width * height}


@SERVER.tool(structured_output=False)
def remember(note: str, context: Context) -> str:
    """Keep a note; the answer lists all notes of the session."""
    held = NOTES.setdefault(session_of(context), [])
    held.append(note)
    return ", ".join(held)


@SERVER.tool(structured_output=False)
def fail(reason: str) -> str:
    """An error of the tool's own."""
    raise ValueError(reason)


@SERVER.tool(structured_output=False)
def picture() -> Image:
    """Three bytes that claim to be an image."""
    return Image(data=b"abc", format="png")


@SERVER.tool(structured_output=False)
def sleep(seconds: float) -> str:
    """A slow tool."""
    time.sleep(seconds)
    return "awake"


@SERVER.tool(structured_output=False)
def crash() -> str:
    """The process ends in the middle of the call."""
    print("sample server: about to crash", file=sys.stderr, flush=True)
    os._exit(3)


@SERVER.tool(structured_output=False)
def environment() -> str:
    """Names of the environment variables the server sees."""
    return ",".join(sorted(os.environ))


@SERVER.tool(structured_output=False)
def processes() -> str:
    """The server's process id and that of a daemon it leaves behind."""
    daemon = subprocess.Popen(["sleep", "600"], start_new_session=True, stdin=subprocess.DEVNULL)
    return f"{os.getpid()} {daemon.pid}"


@SERVER.tool(structured_output=False)
def long(length: int) -> str:
    """As many characters."""
    return "x" * length


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        SERVER.run("stdio")
    else:
        SERVER.run("streamable-http", port=int(sys.argv[2]), stateless_http=sys.argv[3:] == ["stateless"])
