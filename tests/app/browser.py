"""Headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_START_SECONDS = 60
_WAIT_SECONDS = 60


class Browser:
    """One tab of a Chromium of its own.

    Args:
        folder: For its profile and its downloads.
        width, height: Of the page in CSS pixels.
        is_dark: Whether the page is asked for its dark look.
    """

    def __init__(self, folder: Path, *, width: int = 1100, height: int = 900, is_dark: bool = False) -> None:
        assert CHROMIUM is not None
        self._numbers = itertools.count(1)
        self._stack = ExitStack()
        self._session: str | None = None
        self._look = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self._scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self._profile = folder / "profile"
        self.events: list[dict[str, Any]] = []
        self.downloads = folder / "downloads"

    def __enter__(self) -> Browser:
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        from websockets.sync.client import connect

        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options += ["--remote-debugging-port=0", f"--user-data-dir={self._profile}", "--no-first-run"]
        process = subprocess.Popen(
            [str(CHROMIUM), *options, "about:blank"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        port, path = self._address()
        address = f"ws://127.0.0.1:{port}{path}"
        self._socket = stack.enter_context(connect(address, max_size=None, compression=None, proxy=None))
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", **self._look)
        self.call("Emulation.setEmulatedMedia", features=[self._scheme])
        self.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    def _address(self) -> tuple[str, str]:
        file = self._profile / "DevToolsActivePort"
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            lines = file.read_text().splitlines() if file.exists() else []
            if len(lines) == 2:
                return lines[0], lines[1]
            time.sleep(0.05)
        raise TimeoutError("Chromium did not start")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result; events on the way are kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=_WAIT_SECONDS))
            if answer.get("id") != number:
                self.events.append(answer)
                continue
            assert "error" not in answer, answer
            result: dict[str, Any] = answer["result"]
            return result

    def open(self, address: str) -> None:
        num_before = len(self.events)
        self.call("Page.navigate", url=address)
        # Not asked of the page: a question to one that is just being replaced is an error.
        while all(event.get("method") != "Page.loadEventFired" for event in self.events[num_before:]):
            self.events.append(json.loads(self._socket.recv(timeout=_WAIT_SECONDS)))

    def value(self, script: str) -> Any:
        """Return what an expression comes to; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until an expression is true and return what it is."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            if value := self.value(script):
                return value
            time.sleep(0.05)
        raise TimeoutError(f"{script} never came true")

    def choose_file(self, selector: str, *paths: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def click(self, x: float, y: float) -> None:
        """Move the mouse to a place of the window, in CSS pixels, and click there."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def troubles(self) -> list[str]:
        """Return what the page complained of: errors of scripts, and of the content policy."""
        self.value("1")  # takes in what has come
        said = []
        for event in self.events:
            if event.get("method") == "Runtime.exceptionThrown":
                said.append(json.dumps(event["params"]["exceptionDetails"]))
            if event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
                said.append(event["params"]["entry"]["text"])
        return said

    def violations(self) -> list[str]:
        """Return the rules of axe-core that the page breaks, each with an element that does."""
        import axe_core_python

        self.value((Path(axe_core_python.__file__).parent / "axe.min.js").read_text("utf-8") + ";1")
        found = "violations.map((one) => `${one.id}: ${one.nodes[0].html} ${one.nodes[0].failureSummary}`)"
        broken: list[str] = self.value(f"axe.run().then((results) => results.{found})")
        return broken

    def screenshot(self, path: Path, *, is_whole: bool = True) -> None:
        data = self.call("Page.captureScreenshot", captureBeyondViewport=is_whole)["data"]
        path.write_bytes(base64.b64decode(data))
