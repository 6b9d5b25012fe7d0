"""A real browser on a page: Chromium without a window, driven over the DevTools protocol."""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
_START_S = 30.0
_STEP_S = 0.02


class Page:
    """One tab."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._last = 0
        self.requests: list[str] = []
        """Addresses asked for since the tab was opened."""
        self.complaints: list[str] = []
        """What scripts and policies complained about in the console."""

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call the browser; what it answered."""
        self._last += 1
        self._connection.send(json.dumps({"id": self._last, "method": method, "params": params}))
        while True:
            told = json.loads(self._connection.recv(timeout=_START_S))
            if told.get("id") == self._last:
                assert "error" not in told, told
                return told["result"]
            self._note(told)

    def open(self, address: str, *, wide: int = 1280, high: int = 900, is_dark: bool = False) -> None:
        """Load a page in a window of this size."""
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.look(wide=wide, high=high, is_dark=is_dark)
        self.send("Page.navigate", url=address)

    def look(self, *, wide: int, high: int = 900, is_dark: bool = False) -> None:
        """Change the window's size and the scheme of colours that a person prefers."""
        self.send("Emulation.setDeviceMetricsOverride", width=wide, height=high, deviceScaleFactor=1, mobile=wide < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def value(self, script: str) -> Any:
        """What a script comes to; a promise is waited for."""
        told = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait_for(self, script: str, *, within_s: float = 10.0) -> Any:
        """What a script comes to once that is true."""
        return wait_for(lambda: self.value(script), f"{script} on the page", within_s=within_s)

    def press(self, *keys: str) -> None:
        """Press keys one after the other, as a person would."""
        for key in keys:
            text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            told = {"key": key, "windowsVirtualKeyCode": {"Enter": 13, "Escape": 27}.get(key, ord(key[0].upper()))}
            self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **told)
            self.send("Input.dispatchKeyEvent", type="keyUp", **told)

    def screenshot(self, path: Path) -> None:
        """What the window shows, as PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def _note(self, told: dict[str, Any]) -> None:
        params = told.get("params", {})
        if told.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif told.get("method") == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif told.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"].get("text", "exception"))


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A tab of a browser of the test's own; skips, saying why, where there is no Chromium."""
    program = next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(_PROGRAMS)} is installed")
    with subprocess.Popen(
        [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            told = profile / "DevToolsActivePort"
            wait_for(lambda: told.exists() and "\n" in told.read_text(), "Chromium's port", within_s=_START_S)
            port, path = told.read_text().split()
            with connect(f"ws://127.0.0.1:{port}{path}", max_size=None) as browser:
                target = _call(browser, "Target.createTarget", url="about:blank")["targetId"]
            with connect(f"ws://127.0.0.1:{port}/devtools/page/{target}", max_size=None) as tab:
                yield Page(tab)
        finally:
            process.terminate()
            process.wait(timeout=_START_S)


def wait_for(found: Callable[[], Any], what: str, *, within_s: float) -> Any:
    """What `found` gives once it gives anything true; fails after a while."""
    end = time.monotonic() + within_s
    while not (held := found()):
        assert time.monotonic() < end, f"waited {within_s} s for {what}"
        time.sleep(_STEP_S)
    return held


def _call(connection: ClientConnection, method: str, **params: Any) -> dict[str, Any]:
    connection.send(json.dumps({"id": 1, "method": method, "params": params}))
    return json.loads(connection.recv(timeout=_START_S))["result"]
