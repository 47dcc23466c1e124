"""Drives a headless Chromium over the DevTools protocol, for tests of pages."""

from __future__ import annotations

__all__ = ["Browser", "Tab", "find_chromium"]

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import websocket

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_OWN_SCHEMES = ("file:", "data:", "blob:", "about:", "chrome:", "devtools:")


def find_chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Tab:
    """One page: runs JavaScript, takes pictures, and keeps what the console said and what was requested."""

    def __init__(self, url: str) -> None:
        self._socket = websocket.create_connection(url, timeout=60, suppress_origin=True)
        self._ids = itertools.count(1)
        self.console: list[str] = []
        self.requests: list[str] = []
        self.loaded = False
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and return its result; events on the way are noted."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self._note(message.get("method", ""), message.get("params", {}))

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.console.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.console.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.console.append(json.dumps(params["args"]))

    def open(self, url: str) -> float:
        """Load a page and return the seconds until its load event."""
        self.loaded = False
        begin = time.perf_counter()
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")
        return time.perf_counter() - begin

    def run(self, script: str) -> Any:
        """Evaluate an expression and return its value."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, condition: str, seconds: float = 30) -> None:
        """Wait until an expression is true."""
        self._until(lambda: bool(self.run(f"!!({condition})")), condition, seconds)

    def _until(self, met: Callable[[], bool], name: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < end, f"not within {seconds} s: {name}; console: {self.console}"
            time.sleep(0.02)

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the window's size and the colour scheme the system asks for."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def key(self, name: str) -> None:
        """Press and release a key."""
        codes = {"ArrowDown": 40, "ArrowRight": 39, "Tab": 9, "Enter": 13}
        code = codes.get(name) or ord(name.upper())
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path, *, whole: bool = False) -> Path:
        """Save what is seen, or the whole page, as PNG."""
        result = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(result["data"]))
        return path

    def outside(self, *allowed: str) -> list[str]:
        """Return requests that left the machine's own files and the ``allowed`` prefixes."""
        return [url for url in self.requests if not url.startswith((*_OWN_SCHEMES, *allowed))]

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class Browser:
    """A headless Chromium with a profile of its own, ended with the ``with`` block."""

    def __init__(self, program: str) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="evalkit-chromium-", ignore_cleanup_errors=True)
        flags = [
            "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={self._profile.name}",
            "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
            "--disable-extensions", "--disable-component-update", "--disable-sync", "--mute-audio",
            "--hide-scrollbars", "--autoplay-policy=no-user-gesture-required",
        ]  # fmt: skip
        if os.geteuid() == 0:
            flags.append("--no-sandbox")
        self._process = subprocess.Popen(
            [program, *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._port = self._read_port()

    def _read_port(self) -> int:
        file = Path(self._profile.name) / "DevToolsActivePort"
        end = time.monotonic() + 60
        while True:
            lines = file.read_text().splitlines() if file.exists() else []
            if len(lines) >= 2:
                return int(lines[0])
            assert self._process.poll() is None, f"the browser ended with {self._process.returncode}"
            assert time.monotonic() < end, "the browser opened no port within 60 s"
            time.sleep(0.05)

    def tab(self) -> Tab:
        """Open a new page."""
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(request, timeout=30) as reply:
            return Tab(json.load(reply)["webSocketDebuggerUrl"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._profile.cleanup()
