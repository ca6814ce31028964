"""A headless Chromium for tests: open a page, run a script in it, see what it logs and loads, take a picture.

It is driven through the DevTools protocol, of which these few calls are all that the tests need.
"""

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

try:
    import websocket  # websocket-client, which Jupyter Server brings along
except ImportError:
    websocket = None

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

needs_chromium = pytest.mark.skipif(
    PROGRAM is None or websocket is None,
    reason="needs Chromium (Debian: apt install chromium) and the package websocket-client",
)


class Browser:
    """Use it in a `with` statement.  `messages` and `requests` are those of the page that was opened last."""

    def __enter__(self) -> "Browser":
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        # As root, and in a container, Chromium's own sandbox can't stand; the pages are ours.
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ]
        options += ["--remote-debugging-port=0", f"--user-data-dir={self.folder.name}", "about:blank"]
        self.process = subprocess.Popen(
            [PROGRAM, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        port, path = self._wait_for(Path(self.folder.name) / "DevToolsActivePort").split("\n")
        self.numbers = itertools.count(1)
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []
        self.socket = websocket.create_connection(
            f"ws://127.0.0.1:{port}{path}", timeout=30, suppress_origin=True
        )
        (target, *_) = [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        opened = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = opened["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: Any) -> None:
        self.socket.close()
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def _wait_for(self, path: Path, seconds: float = 30) -> str:
        give_up = time.monotonic() + seconds
        while not (path.exists() and path.read_text().count("\n")):
            assert self.process.poll() is None and time.monotonic() < give_up, "Chromium does not start"
            time.sleep(0.05)
        return path.read_text().strip()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        self.socket.send(json.dumps(message | ({"sessionId": self.session} if self.session else {})))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def open(self, path: Path, width: int = 1200, *, dark: bool = False) -> "Browser":
        """Open a file in a window of so many pixels, in light or dark mode, and wait until it has loaded."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        give_up = time.monotonic() + 30
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            assert time.monotonic() < give_up, f"{path} does not load"
            self.run("1")
        return self

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def _params(self, *methods: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event["method"] in methods]

    @property
    def messages(self) -> list[str]:
        """What went wrong, or was logged, or popped up."""
        names = (
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Log.entryAdded",
            "Page.javascriptDialogOpening",
        )
        return [json.dumps(found)[:2000] for found in self._params(*names)]

    @property
    def requests(self) -> list[str]:
        """The addresses that were asked for."""
        return [found["request"]["url"] for found in self._params("Network.requestWillBeSent")]

    def picture(self, path: Path) -> Path:
        """The whole page as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path
