"""A real Prometheus on loopback with the committed configuration, aimed at one server and scraping fast."""

import json
import pathlib
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

from keyhole_process import REPO

CONFIG = REPO / "deploy/prometheus/prometheus.yml"
INTERVAL_SECONDS = 0.5
START_SECONDS = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PrometheusProcess:
    """Runs from construction until stop()."""

    def __init__(self, metrics_url):
        self.target = urllib.parse.urlsplit(metrics_url).netloc
        self.folder = tempfile.TemporaryDirectory()
        self.url = f"http://127.0.0.1:{free_port()}"
        command = ["prometheus", f"--config.file={self._write_config()}", f"--storage.tsdb.path={self.folder.name}/data",
                   f"--web.listen-address={self.url.removeprefix('http://')}", "--log.level=warn"]  # fmt: skip
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stderr=self.log, stdout=self.log)

    def _write_config(self):
        config = yaml.safe_load(CONFIG.read_text())
        interval = f"{round(INTERVAL_SECONDS * 1000)}ms"
        config["global"] = {name: interval for name in ("scrape_interval", "scrape_timeout", "evaluation_interval")}
        config["rule_files"] = [str(CONFIG.parent / name) for name in config["rule_files"]]
        (job,) = config["scrape_configs"]
        job["static_configs"] = [{"targets": [self.target]}]
        path = pathlib.Path(self.folder.name, "prometheus.yml")
        path.write_text(yaml.safe_dump(config))
        return path

    def get(self, path, **parameters):
        """The "data" of an API answer; AssertionError with Prometheus' own words where it refuses."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def query(self, expression):
        """[(labels, value)] now."""
        found = self.get("query", query=expression)["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def wait_scraped(self):
        """Until the server has been scraped twice, beginning from now."""
        after = time.time() + INTERVAL_SECONDS
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                found = self.query("timestamp(up == 1)")
                if found and found[0][1] > after:
                    return self
            except urllib.error.URLError:  # not yet listening
                pass
            time.sleep(0.2)
        self.log.seek(0)
        raise AssertionError("Prometheus scrapes nothing:\n" + self.log.read()[-2000:])

    def stop(self):
        self.process.kill()
        self.process.wait(10)
        self.log.close()
        self.folder.cleanup()
