"""Scrape configuration and alerts: valid, aimed at the server's default metrics port, each alert tested by promtool."""

import importlib.util
import pathlib
import subprocess
import unittest

import yaml

REPO = pathlib.Path(__file__).resolve().parents[2]
PROMETHEUS = REPO / "deploy/prometheus"
RULES = PROMETHEUS / "rules.yml"


def alerts(path=RULES):
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


class Prometheus(unittest.TestCase):
    def promtool(self, *arguments):
        result = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_configuration(self):
        self.promtool("check", "config", PROMETHEUS / "prometheus.yml")

    def test_target_and_rules(self):
        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        (job,) = config["scrape_configs"]
        self.assertEqual(job["static_configs"], [{"targets": ["127.0.0.1:9480"]}])
        self.assertEqual(config["rule_files"], [RULES.name])

    def test_rules(self):
        self.promtool("check", "rules", RULES)
        self.promtool("test", "rules", PROMETHEUS / "rules_test.yml")

    def test_each_alert_fires_in_a_test(self):
        cases = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
        fired = {check["alertname"] for case in cases for check in case["alert_rule_test"] if check["exp_alerts"]}
        self.assertEqual(sorted(fired), sorted(rule["alert"] for rule in alerts()))

    def test_each_alert_says_what_is_wrong_and_how_bad(self):
        for rule in alerts():
            with self.subTest(alert=rule["alert"]):
                self.assertIn(rule["labels"]["severity"], ("warning", "critical"))
                self.assertEqual(set(rule["annotations"]), {"summary", "description"})
                self.assertIn("for", rule)

    def test_kubernetes_form_is_up_to_date(self):
        spec = importlib.util.spec_from_file_location("make_prometheus_rule", PROMETHEUS / "make_prometheus_rule.py")
        maker = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(maker)
        self.assertEqual(maker.OUTPUT.read_text(), maker.text(), "run deploy/prometheus/make_prometheus_rule.py")


if __name__ == "__main__":
    unittest.main()
