"""A real browser for tests: headless Chromium, driven over WebDriver with nothing but the standard library."""

import base64
import json
import re
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
PATIENCE = 240  # seconds for a script or a page, on a machine that does other things as well
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def missing():
    """Why there is no browser here; empty if there is one."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"no {' and no '.join(absent)} (Debian: apt-get install chromium chromium-driver)" if absent else ""


class Browser:
    """One window of a given size in CSS pixels."""

    def __init__(self, width, height):
        self.folder = tempfile.TemporaryDirectory()
        self.driver = subprocess.Popen(
            [shutil.which("chromedriver"), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            started = (re.search(r"on port (\d+)\.", line) for line in self.driver.stdout)
            self.address = f"http://127.0.0.1:{next(match for match in started if match)[1]}/session"
            chrome = {
                "binary": shutil.which("chromium"),
                "args": [*QUIET, f"--user-data-dir={self.folder.name}", f"--window-size={width},{height}"],
            }
            patient = {"script": 1000 * PATIENCE, "pageLoad": 1000 * PATIENCE}
            wanted = {"goog:chromeOptions": chrome, "goog:loggingPrefs": {"browser": "ALL"}, "timeouts": patient}
            session = self._ask("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            self.address += f"/{session}"
        except BaseException:
            self._stop()
            raise

    def resize(self, width, height):
        """Another size from the next page on; a phone with a finger where it is narrow."""
        is_phone = width < 500
        if is_phone:
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
            self._command("Emulation.setDeviceMetricsOverride", **metrics)
        else:
            self._command("Emulation.clearDeviceMetricsOverride")
            self._ask("/window/rect", {"width": width, "height": height})
        self._command("Emulation.setTouchEmulationEnabled", enabled=is_phone)

    def _command(self, name, **parameters):
        """A command of Chromium's own protocol."""
        self._ask("/goog/cdp/execute", {"cmd": name, "params": parameters})

    def _ask(self, path, content=None, method=None):
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        # No proxy stands between a test and the driver it started.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=PATIENCE + 30) as answer:
            return json.load(answer)["value"]

    def _stop(self):
        self.driver.terminate()
        self.driver.wait()
        self.driver.stdout.close()
        self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        try:
            self._ask("", method="DELETE")
        finally:
            self._stop()

    def open(self, path):
        """The page is drawn when this returns: what it lays out by the room there is comes a picture later."""
        self._ask("/url", {"url": Path(path).resolve().as_uri()})
        self.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def complaints(self):
        """Everything the console says, and what the page's own policy stopped."""
        return [entry["message"] for entry in self._ask("/se/log", {"type": "browser"})]

    def run(self, script):
        return self._ask("/execute/sync", {"script": script, "args": []})

    def text(self, selector):
        return self.run(f"return document.querySelector({json.dumps(selector)}).textContent")

    def _element(self, selector):
        return self._ask("/element", {"using": "css selector", "value": selector})[ELEMENT]

    def point_at(self, selector):
        place = {"type": "pointerMove", "origin": {ELEMENT: self._element(selector)}, "x": 0, "y": 0, "duration": 0}
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [place]}
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        self._ask("/actions", {"actions": [mouse]})

    def click_at(self, selector, across):
        """Clicks on a place of something wide, as it lies there: 0 is its left end, 1 its right."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        place = self.run(f"const box = {box}; return [box.left + {across} * box.width, box.top + box.height / 2]")
        move = dict(zip("xy", map(round, place), strict=True)) | {"type": "pointerMove", "origin": "viewport"}
        press = [{"type": f"pointer{way}", "button": 0} for way in ("Down", "Up")]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [move, *press]}
        self._ask("/actions", {"actions": [mouse]})

    def click(self, selector):
        self._ask(f"/element/{self._element(selector)}/click", {})

    def press(self, key):
        strokes = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self._ask("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def emulate(self, media="", scheme="light"):
        """As printed (media="print"), or for a reader who likes the dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._command("Emulation.setEmulatedMedia", media=media, features=features)

    def screenshot(self, path):
        Path(path).write_bytes(base64.b64decode(self._ask("/screenshot")))
