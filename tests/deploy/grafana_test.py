"""The dashboard as a file: made by its script, valid PromQL, and the rules of Grafana's dashboard-linter.

Whether its queries find anything is tests/integration/dashboard_test.py's question.
"""

import collections
import importlib.util
import json
import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml

GRAFANA = pathlib.Path(__file__).resolve().parents[2] / "deploy/grafana"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# A selector with both variables; every metric is named by one.
SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")
COUNTER = re.compile(r"_(total|bucket|sum|count)\{")
VARIABLES = {"$__rate_interval": "5m", "$job": ".+", "$instance": ".+"}


def load_maker():
    spec = importlib.util.spec_from_file_location("make_dashboard", GRAFANA / "make_dashboard.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    return maker


class Dashboard(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dashboard = json.loads((GRAFANA / "keyhole.json").read_text())
        cls.panels = [panel for panel in cls.dashboard["panels"] if panel["type"] != "row"]
        cls.variables = {variable["name"]: variable for variable in cls.dashboard["templating"]["list"]}

    def expressions(self):
        return [target["expr"] for panel in self.panels for target in panel["targets"]]

    def test_file_is_up_to_date(self):
        self.assertEqual((GRAFANA / "keyhole.json").read_text(), load_maker().text(), "run make_dashboard.py")

    def test_frame(self):
        self.assertEqual(self.dashboard["schemaVersion"], 42)
        self.assertEqual(self.dashboard["uid"], "keyhole")
        ids = [panel["id"] for panel in self.dashboard["panels"]]
        self.assertEqual(len(ids), len(set(ids)))

    def test_selection_comes_first(self):
        first = self.dashboard["panels"][:3]
        self.assertEqual([panel["type"] for panel in first], ["row", "stat", "stat"])
        self.assertIn("keyhole_selection_step_duration_seconds", first[1]["targets"][0]["expr"])
        self.assertIn("keyhole_selection_recall_ratio", first[2]["targets"][0]["expr"])

    def test_panels_do_not_overlap(self):
        taken = collections.Counter()
        for panel in self.dashboard["panels"]:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            taken.update((x, y) for x in range(place["x"], place["x"] + place["w"])
                         for y in range(place["y"], place["y"] + place["h"]))  # fmt: skip
        self.assertEqual([cell for cell, count in taken.items() if count > 1], [])

    # --- the linter's rules, in its order

    def test_01_datasource_variable(self):
        self.assertEqual((self.variables["datasource"]["type"], self.variables["datasource"]["query"]),
                         ("datasource", "prometheus"))  # fmt: skip

    def test_02_job_and_instance_variables(self):
        for name in ("job", "instance"):
            variable = self.variables[name]
            self.assertEqual((variable["type"], variable["datasource"]), ("query", DATASOURCE))
            self.assertTrue(variable["multi"] and variable["includeAll"])
            self.assertEqual(variable["allValue"], ".+")

    def test_03_variables_are_read_again_when_the_time_changes(self):
        for name in ("job", "instance"):
            self.assertEqual(self.variables[name]["refresh"], 2)
            self.assertRegex(self.variables[name]["query"], r"^label_values\(.+, \w+\)$")

    def test_04_datasource_of_every_panel_and_target(self):
        for panel in self.panels:
            self.assertEqual([one["datasource"] for one in [panel, *panel["targets"]]],
                             [DATASOURCE] * (1 + len(panel["targets"])), panel["title"])  # fmt: skip

    def test_05_title_and_description_that_names_the_metrics(self):
        titles = collections.Counter(panel["title"] for panel in self.panels)
        for panel in self.panels:
            self.assertEqual(titles[panel["title"]], 1, panel["title"])
            for target in panel["targets"]:
                for name, _ in SELECTOR.findall(target["expr"]):
                    self.assertRegex(panel["description"], rf"\b{name}\b")

    def test_06_units_and_a_text_for_no_value(self):
        for panel in self.panels:
            defaults = panel["fieldConfig"]["defaults"]
            self.assertTrue(defaults["unit"], panel["title"])
            self.assertEqual(defaults["noValue"], "No traffic", panel["title"])

    def test_07_queries_are_there_and_valid(self):
        rules = []
        for expression in self.expressions():
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            rules.append({"record": f"query:{len(rules)}", "expr": expression})
            self.assertNotIn("$", expression)
        self.assertTrue(all(panel["targets"] for panel in self.panels))
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}, file)
            file.flush()
            result = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_08_ranges_are_the_rate_interval(self):
        for expression in self.expressions():
            self.assertEqual(set(re.findall(r"\[(.*?)\]", expression)) - {"$__rate_interval"}, set(), expression)

    def test_09_every_selector_has_job_and_instance(self):
        for expression in self.expressions():
            selectors = SELECTOR.findall(expression)
            self.assertTrue(selectors, expression)
            for name, labels in selectors:
                self.assertTrue(labels.startswith('job=~"$job",instance=~"$instance"'), name)

    def test_10_counters_are_read_as_rates_and_ratios_are_guarded(self):
        for expression in self.expressions():
            for found in COUNTER.finditer(expression):
                before = expression[: found.start()]
                self.assertRegex(before, r"(rate|increase)\([a-z_]+$")
            self.assertEqual(expression.count(" / "), len(re.findall(r" / \(.*? > 0\)", expression)), expression)
            if "histogram_quantile" in expression:
                self.assertTrue(expression.endswith(" >= 0"), expression)

    def test_11_not_editable(self):
        self.assertIs(self.dashboard["editable"], False)


if __name__ == "__main__":
    unittest.main()
