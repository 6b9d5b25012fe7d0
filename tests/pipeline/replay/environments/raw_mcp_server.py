"""A server of the Model Context Protocol over stdio without its library: `python raw_mcp_server.py old|modern`.

`old` ends at a first message that is not `initialize`, as servers of 2025 do; `modern` does not know that message.
"""

import json
import sys
from typing import Any

KIND = sys.argv[1]
TOOLS = ("echo", "refuse", "break", "garbage", "garbage_only")


def send(told: dict[str, Any]) -> None:
    """Write one message."""
    print(json.dumps({"jsonrpc": "2.0", **told}), flush=True)


def result_of(asked: dict[str, Any]) -> dict[str, Any]:
    """The reply to a call, `result` or `error`."""
    name, arguments = asked["params"]["name"], asked["params"]["arguments"]
    if name == "refuse":
        return {"error": {"code": -32602, "message": "want a date, found red"}}
    if name == "break":
        return {"error": {"code": -32603, "message": "database is down"}}
    if name.startswith("garbage"):
        print("{not json", flush=True)
    text = {"content": [{"type": "text", "text": json.dumps(arguments)}], "isError": False}
    return {"result": text | ({"resultType": "complete"} if KIND == "modern" else {})}


def main() -> None:
    """Answer until the input ends."""
    for number, line in enumerate(sys.stdin):
        asked = json.loads(line)
        method = asked["method"]
        if number == 0 and KIND == "old" and method != "initialize":
            sys.exit(f"want initialize, found {method}")
        if "id" not in asked:
            continue
        known = {"ttlMs": 0, "cacheScope": "private", "resultType": "complete"} if KIND == "modern" else {}
        if method == "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
            told = {"result": {"tools": tools, **known}}
        elif method == "tools/call":
            told = result_of(asked)
            if asked["params"]["name"] == "garbage_only":
                continue
        elif method == "initialize" and KIND == "old":
            told = {
                "result": {
                    "protocolVersion": "2025-06-18",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "raw", "version": "1"},
                }
            }
        elif method == "server/discover" and KIND == "modern":
            told = {"result": {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, **known}}
        else:
            told = {"error": {"code": -32601, "message": f"no method {method}"}}
        send({"id": asked["id"], **told})


main()
