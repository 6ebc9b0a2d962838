"""The scrape configuration: valid, and aimed at the server's default metrics port."""

import pathlib
import subprocess
import unittest

import yaml

CONFIG = pathlib.Path(__file__).resolve().parents[2] / "deploy/prometheus/prometheus.yml"


class Prometheus(unittest.TestCase):
    def test_promtool(self):
        result = subprocess.run(["promtool", "check", "config", CONFIG], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_target(self):
        (job,) = yaml.safe_load(CONFIG.read_text())["scrape_configs"]
        self.assertEqual(job["static_configs"], [{"targets": ["127.0.0.1:9480"]}])


if __name__ == "__main__":
    unittest.main()
