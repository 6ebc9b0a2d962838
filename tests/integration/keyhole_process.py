"""A real keyhole-server as a child process, and where its parts lie."""

import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time
import urllib.request

REPO = pathlib.Path(os.path.abspath(__file__)).parents[2]
SERVER = REPO / "build/cpu-release/server/keyhole-server"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "keyhole"
MODEL = CACHE / "models/SmolLM2-135M-Instruct.Q4_1.gguf"
SERVICE = "keyhole.v1.GenerationService"
START_SECONDS = 120


class ServerProcess:
    """Runs from construction until stop(); its log lines are kept as objects."""

    def __init__(self, *flags, model=MODEL):
        command = [SERVER, "--model", model, "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", *flags]
        self.process = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.raw = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for text in self.process.stderr:
            with self._changed:
                self.raw.append(text)
                try:
                    self.lines.append(json.loads(text))
                except ValueError:
                    pass
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def wait_for_event(self, event, timeout=START_SECONDS, **fields):
        """The first log line of this event that has these fields."""
        wanted = {"event": event, **fields}
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for line in self.lines:
                    if wanted.items() <= line.items():
                        return line
                left = deadline - time.monotonic()
                if left <= 0 or (not self._reader.is_alive() and self.process.poll() is not None):
                    raise AssertionError(f"no '{event}' in the log:\n" + "".join(self.raw[-20:]))
                self._changed.wait(min(left, 0.5))

    def wait_listening(self):
        line = self.wait_for_event("listening")
        self.address = f"127.0.0.1:{line['port']}"
        self.metrics_url = f"http://127.0.0.1:{line['metrics_port']}/metrics"
        return self

    def wait_ready(self):
        self.wait_listening()
        # Health follows the loaded model within a period of the server's monitor.
        self.wait_for_event("health", service=SERVICE, serving=True)
        return self

    def scrape(self):
        with urllib.request.urlopen(self.metrics_url, timeout=10) as answer:
            return answer.read().decode()

    def metric(self, sample):
        """The value of one sample, named with its labels; None where there is none."""
        found = re.search("^" + re.escape(sample) + " (.*)$", self.scrape(), re.MULTILINE)
        return float(found.group(1)) if found else None

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait_exit(self, timeout=30):
        code = self.process.wait(timeout)
        self._reader.join(5)
        return code

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self._reader.join(5)
        self.process.stderr.close()
