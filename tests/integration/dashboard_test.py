"""Every query of the dashboard and of the alerts, answered by a real Prometheus that scrapes a real server.

Fails on a query without an answer, on NaN and infinity, on a metric that no panel shows, on a panel whose metric is
gone, and on a quantile that its last bucket cuts off.
"""

import json
import math
import re
import sys
import time
import unittest

import grpc
import yaml

from keyhole_process import REPO, ServerProcess
from prometheus_process import PrometheusProcess

sys.path.insert(0, str(REPO / "client/python"))
import keyhole_client  # noqa: E402
from keyhole_client import pb  # noqa: E402

POLICY = "esa"
# Whether the policy scores candidates. Where it does not, the selection panels must show nothing.
SCORES = POLICY not in ("full", "sink_recent")
# Small parts, so that a prompt of two chunks has candidates to choose from.
FLAGS = ("--policy", POLICY, "--initial", "16", "--local", "64", "--selected", "32", "--max-context", "2048",
         "--kv-memory", "256MiB", "--max-running", "2", "--max-queued", "1")  # fmt: skip
LONG_PROMPT = "The keeper walks the harbour wall and counts the boats. " * 60
ENDLESS = pb.GenerateRequest(text="Go on", stopping=pb.StoppingOptions(max_output_tokens=1900, ignore_eos=True))
VARIABLES = {"$__rate_interval": "1m", "$job": ".+", "$instance": ".+"}

# Alerts whose left side has no series on a server without faults, and the matcher that is dropped to see that the rest
# of it finds something: no client can cause a fault of the server.
FAULTS_ONLY = {"KeyholeErrors": '{code=~"INTERNAL|UNKNOWN|DATA_LOSS"}'}
SELECTION = "keyhole_selection_"


class Traffic:
    """Moves every metric: answers, a wrong request, a cancel, a deadline, a refusal for want of room."""

    def __init__(self, server):
        self.server = server
        self.stub = keyhole_client.connect(server.address)

    def run(self):
        self.answers()
        hot = pb.GenerateRequest(text="a", sampling=pb.SamplingOptions(temperature=9))
        self.expect(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.stub.Generate(hot, timeout=60))
        self.expect(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: list(self.stream(timeout=0.5)))
        self.full_house()

    def answers(self):
        stopping = pb.StoppingOptions(max_output_tokens=12)
        self.stub.Generate(pb.GenerateRequest(text="The capital of France is", stopping=stopping), timeout=60)
        self.stub.Generate(pb.GenerateRequest(text=LONG_PROMPT, stopping=stopping), timeout=60)
        list(keyhole_client.stream_chat(self.stub, "Say hello.", max_output_tokens=12, timeout=60))
        self.stub.CountTokens(pb.CountTokensRequest(text="one two"), timeout=60)

    def expect(self, code, call):
        try:
            call()
        except grpc.RpcError as error:
            assert error.code() == code, error
        else:
            raise AssertionError(f"no {code}")

    def stream(self, timeout=60):
        return self.stub.StreamGenerate(pb.StreamGenerateRequest(request=ENDLESS), timeout=timeout)

    def full_house(self):
        """Two run, one waits, the fourth is refused; then all are cancelled."""
        streams = []
        for _ in range(3):
            streams.append(self.stream())
            if len(streams) < 3:
                next(streams[-1])
        self.wait("keyhole_scheduler_waiting_requests", 1)
        self.expect(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: list(self.stream()))
        for stream in streams:
            stream.cancel()
        self.wait("keyhole_scheduler_waiting_requests", 0)
        self.wait("keyhole_scheduler_running_requests", 0)

    def wait(self, gauge, value):
        deadline = time.monotonic() + 30
        while self.server.metric(gauge) != value:
            assert time.monotonic() < deadline, f"{gauge} does not become {value}"
            time.sleep(0.05)


def setUpModule():
    global server, prometheus, scrape
    server = ServerProcess(*FLAGS).wait_ready()
    unittest.addModuleCleanup(server.stop)
    prometheus = PrometheusProcess(server.metrics_url)
    unittest.addModuleCleanup(prometheus.stop)
    traffic = Traffic(server)
    # A counter's first value is no increase: what appears in the first round moves in the second.
    for _ in range(2):
        traffic.run()
        prometheus.wait_scraped()
    scrape = server.scrape()


def exported():
    """{family: type} of the server's own metrics."""
    return dict(re.findall(r"^# TYPE (\S+) (\w+)$", scrape, re.MULTILINE))


def top_edge(histogram):
    """The last finite bucket."""
    edges = re.findall(rf'^{histogram}_bucket{{.*le="([^"]+)"', scrape, re.MULTILINE)
    return max(float(edge) for edge in edges if edge != "+Inf")


def family(name):
    """The family of a series' name: without the suffix of a histogram or summary."""
    families = exported()
    stem = re.sub(r"_(bucket|sum|count)$", "", name)
    return stem if families.get(stem) in ("histogram", "summary") else name


def substitute(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def is_silent(expression):
    return SELECTION in expression and not SCORES


class QueryTest(unittest.TestCase):
    def expect_numbers(self, expression):
        found = prometheus.query(expression)
        self.assertTrue(found, f"no answer to {expression}")
        for labels, value in found:
            self.assertTrue(math.isfinite(value), f"{value} at {labels} from {expression}")
        return found

    def expect_silence(self, expression):
        moved = [(labels, value) for labels, value in prometheus.query(expression) if value != 0 and not math.isnan(value)]
        self.assertEqual(moved, [], f"{POLICY} scores nothing, yet {expression} has figures")

    def expect_moved_or_silent(self, expression):
        found = self.expect_silence(expression) if is_silent(expression) else self.expect_numbers(expression)
        if found and SELECTION in expression:
            self.assertTrue(any(value > 0 for _, value in found), f"{expression} stands still")


class DashboardTest(QueryTest):
    @classmethod
    def setUpClass(cls):
        dashboard = json.loads((REPO / "deploy/grafana/keyhole.json").read_text())
        cls.panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
        cls.variables = [one for one in dashboard["templating"]["list"] if one["type"] == "query"]

    def queries(self):
        """(title, expression) of every query."""
        return [(panel["title"], substitute(target["expr"])) for panel in self.panels for target in panel["targets"]]

    def metrics_of_panels(self):
        return {name for panel in self.panels for target in panel["targets"]
                for name in re.findall(r"([a-zA-Z_:]+)\{", target["expr"])}  # fmt: skip

    def test_every_panel_shows_numbers(self):
        for title, expression in self.queries():
            with self.subTest(panel=title):
                self.expect_moved_or_silent(expression)

    def test_every_metric_is_in_a_panel(self):
        self.assertEqual(sorted(set(exported()) - {family(name) for name in self.metrics_of_panels()}), [])

    def test_every_panel_has_its_metrics(self):
        # Prometheus itself makes `up`.
        self.assertEqual(sorted({family(name) for name in self.metrics_of_panels()} - set(exported()) - {"up"}), [])

    def test_no_quantile_is_cut_off_by_the_last_bucket(self):
        checked = 0
        for title, expression in self.queries():
            if not (found := re.match(r"histogram_quantile\(.*?rate\((\w+)_bucket", expression)):
                continue
            # A ratio's last edge is 1, the most that it can be.
            if found.group(1).endswith("_ratio") or is_silent(expression):
                continue
            for labels, value in self.expect_numbers(expression):
                self.assertLess(value, top_edge(found.group(1)), f"{labels} in {title}")
            checked += 1
        self.assertGreater(checked, 15)

    def test_variables_find_the_server(self):
        for variable in self.variables:
            selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]).groups()
            found = self.expect_numbers(substitute(selector))
            expected = {"job": "keyhole", "instance": prometheus.target}[label]
            self.assertEqual([labels[label] for labels, _ in found], [expected])

    def test_configuration_is_shown(self):
        ((labels, value),) = prometheus.query("keyhole_config_info")
        self.assertEqual((labels["policy"], labels["initial"], labels["local"], labels["selected"], value),
                         (POLICY, "16", "64", "32", 1))  # fmt: skip


class AlertTest(QueryTest):
    @classmethod
    def setUpClass(cls):
        groups = yaml.safe_load((REPO / "deploy/prometheus/rules.yml").read_text())["groups"]
        cls.rules = {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}

    def test_prometheus_evaluates_every_alert(self):
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        self.assertEqual(sorted(rule["name"] for rule in rules), sorted(self.rules))
        for rule in rules:
            self.assertEqual((rule["health"], rule.get("lastError")), ("ok", None), rule["name"])

    def test_what_every_alert_compares_has_numbers(self):
        # An alert's own answer is meant to be empty; the left side of each of its comparisons is not.
        for name, expression in self.rules.items():
            for part in re.split(r"\sand on \([^)]*\)\s", expression):
                left, comparisons = re.subn(r"\s(>|<|==) [\d.]+$", "", part)
                self.assertEqual(comparisons, 1, f"{name}: '{part}' ends in no comparison")
                left = left.replace(FAULTS_ONLY.get(name, ""), "")
                if absent := re.fullmatch(r"absent\((.*)\)", left):
                    left = absent.group(1)
                with self.subTest(alert=name, left=left):
                    self.expect_moved_or_silent(left)

    def test_exceptions_are_still_needed(self):
        for name, matcher in FAULTS_ONLY.items():
            self.assertIn(matcher, self.rules[name])
            self.assertEqual(prometheus.query(f"keyhole_requests_total{matcher}"), [])


if __name__ == "__main__":
    unittest.main()
