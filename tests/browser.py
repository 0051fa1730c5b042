"""A real browser without a window, through Debian's chromedriver: the W3C's WebDriver protocol, and no package."""

import base64
import json
import re
import shutil
import subprocess
import tempfile
import urllib.request
from contextlib import contextmanager

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
MISSING = None if CHROMIUM and DRIVER else "no browser: apt-get install chromium chromium-driver"


class Browser:
    """One window of one session."""

    def __init__(self, port, flags):
        self._home = f"http://127.0.0.1:{port}/session"
        options = {"binary": CHROMIUM, "args": list(flags)}
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
        self._home += "/" + self._ask("", wanted)["sessionId"]

    def _ask(self, path, body=None, method="POST"):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._home + path, data, {"Content-Type": "application/json"}, method=method)
        with DIRECT.open(request, timeout=60) as reply:
            return json.load(reply)["value"]

    def command(self, name, **parameters):
        """One of Chromium's own protocol."""
        return self._ask("/goog/cdp/execute", {"cmd": name, "params": parameters})

    def open(self, path, width=1280, height=900, dark=False, script=True):
        """Show a file, or an address, in a window of that many CSS pixels."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        colours = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.command("Emulation.setEmulatedMedia", features=colours)
        self.command("Emulation.setScriptExecutionDisabled", value=not script)
        self._ask("/url", {"url": path if isinstance(path, str) else path.resolve().as_uri()})

    def ask(self, script, *arguments):
        """What a piece of JavaScript returns."""
        return self._ask("/execute/sync", {"script": script, "args": list(arguments)})

    def screenshot(self, path, whole=True):
        """Save what is seen, or the whole page."""
        shot = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        self._ask("", method="DELETE")


@contextmanager
def browser():
    """A browser with a profile that is its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            port = next(
                found[1] for line in driver.stdout if (found := re.search(r"successfully on port (\d+)", line.strip()))
            )
            window = Browser(port, (*FLAGS, f"--user-data-dir={profile}"))
            try:
                yield window
            finally:
                window.close()
        finally:
            driver.terminate()
            driver.wait(20)
            driver.stdout.close()
