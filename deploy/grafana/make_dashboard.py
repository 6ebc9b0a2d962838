#!/usr/bin/env python3
"""Writes keyhole.json, the Grafana dashboard of a Keyhole server, from the table of panels below.

A panel's metrics are appended to its description. Quantiles end in `>= 0`, which drops the NaN of a series without
traffic; ratios divide by what is `> 0`.
"""

import json
import pathlib
import re

OUTPUT = pathlib.Path(__file__).with_name("keyhole.json")
SELECT = 'job=~"$job",instance=~"$instance"'
WIDTH = 24
HEIGHTS = {"stat": 4, "timeseries": 8, "heatmap": 8, "table": 6}


def m(name, labels=""):
    """One metric of the chosen servers."""
    return f"{name}{{{SELECT}{',' if labels else ''}{labels}}}"


def rate(name, labels=""):
    return f"rate({m(name, labels)}[$__rate_interval])"


def by(labels):
    return f"sum by ({labels}) " if labels else "sum"


def per_second(name, labels="", group=""):
    return f"{by(group)}({rate(name, labels)})"


def ratio(top, bottom):
    return f"{top} / ({bottom} > 0)"


def mean(name, labels="", group=""):
    return ratio(per_second(name + "_sum", labels, group), per_second(name + "_count", labels, group))


def quantile(q, name, labels="", group=""):
    buckets = f"sum by (le{', ' if group else ''}{group}) ({rate(name + '_bucket', labels)})"
    return f"histogram_quantile({q}, {buckets}) >= 0"


def quantiles(name, labels="", group="", qs=(0.5, 0.9, 0.99)):
    legend = f" {{{{{group}}}}}" if group else ""
    return [(quantile(q, name, labels, group), f"p{round(q * 100)}{legend}") for q in qs]


def increase(name, labels=""):
    return [(f"sum by (le) (increase({m(name + '_bucket', labels)}[$__rate_interval]))", "{{le}}")]


def one(expression, legend=""):
    return [(expression, legend)]


def panel(kind, title, unit, description, targets, width=8, stack=False):
    return {"kind": kind, "title": title, "unit": unit, "description": description, "targets": targets, "width": width,
            "stack": stack}  # fmt: skip


def stat(title, unit, description, expression, width=6):
    return panel("stat", title, unit, description, one(expression, title), width)


def graph(title, unit, description, targets, width=8, stack=False):
    return panel("timeseries", title, unit, description, targets, width, stack)


def heatmap(title, unit, description, targets, width=8):
    return panel("heatmap", title, unit, description, targets, width)


STEP = "keyhole_selection_step_duration_seconds"
LAYER = "keyhole_selection_duration_seconds"
RECALL = "keyhole_selection_recall_ratio"
MASS = "keyhole_selection_mass_ratio"
FAULTS = 'code=~"INTERNAL|UNKNOWN|DATA_LOSS"'
CALLS = "keyhole_requests_total"
HOST = 'tier="host"'
KV_USED = ratio(f"sum({m('keyhole_kv_pages_used', HOST)})", f"sum({m('keyhole_kv_pages', HOST)})")
ERRORS = ratio(f"({per_second(CALLS, FAULTS)} or vector(0))", per_second(CALLS))

SELECTION = [
    stat("Selection, decode step p99", "s", "Choosing rows in all layers of a step without a prefill chunk.",
         quantile(0.99, STEP, 'phase="decode"')),
    stat("Selection recall p10", "percentunit",
         "Nine of ten sampled layers choose at least this share of the exact top rows.", quantile(0.1, RECALL)),
    stat("Attention mass p10", "percentunit",
         "Nine of ten sampled layers keep at least this share of the candidates' attention.", quantile(0.1, MASS)),
    stat("Selection's share of step time", "percentunit", "Mean over steps that scored candidates.",
         mean("keyhole_selection_step_share_ratio")),
    graph("Selection in a decode step", "s", "All layers together.", quantiles(STEP, 'phase="decode"')),
    graph("Selection in a prefill step", "s", "All layers together; steps that hold a prefill chunk.",
          quantiles(STEP, 'phase="prefill"')),
    graph("Selection recall", "percentunit",
          "Share of the exact top rows that were chosen, by layer group; sampled against un-compressed keys.",
          quantiles(RECALL, group="layer_group", qs=(0.1, 0.5))),
    heatmap("Selection in decode steps, distribution", "s", "All layers together.", increase(STEP, 'phase="decode"')),
    graph("Selection of one layer by stage, mean", "s", "Compress the query, score the candidates, pool and take the top.",
          one(mean(LAYER, group="stage"), "{{stage}}"), stack=True),
    graph("Attention mass kept", "percentunit", "Share of the candidates' exact attention mass on the chosen rows.",
          quantiles(MASS, group="layer_group", qs=(0.1, 0.5))),
    graph("Selection of one layer, p99", "s", "By stage, over all layers.", quantiles(LAYER, group="stage", qs=(0.99,)), 6),
    graph("Scoring by layer group, p99", "s", "Thirds of the layers.",
          quantiles(LAYER, 'stage="score"', "layer_group", (0.99,)), 6),
    graph("Selection's share of step time, distribution", "percentunit", "Of steps that scored candidates.",
          quantiles("keyhole_selection_step_share_ratio"), 6),
    graph("Rows chosen of candidates", "percentunit", "The sparsity of attention to the middle of the sequence.",
          one(ratio(per_second("keyhole_selection_rows_total"), per_second("keyhole_selection_candidates_total")), "chosen"),
          6),
    graph("Rows chosen", "short", "Rows a second, summed over layers.",
          one(per_second("keyhole_selection_rows_total", group="layer_group"), "{{layer_group}}"), 12, True),
    graph("Recall samples", "ops", "Comparisons a second; few of them make recall and mass uncertain.",
          one(per_second("keyhole_selection_recall_samples_total"), "samples"), 12),
]  # fmt: skip

KV = [
    stat("KV pages in use", "percentunit", "Reserved for running requests; above 95% new ones wait.", KV_USED),
    stat("KV pool", "bytes", "Host memory reserved for KV pages.", f"sum({m('keyhole_kv_host_pool_bytes')})"),
    graph("KV pages", "short", "In use and there are, by server.",
          [(m("keyhole_kv_pages_used"), "used {{instance}} {{tier}}"), (m("keyhole_kv_pages"), "all {{instance}} {{tier}}")], 6),
    graph("Prompt tokens from the prefix cache", "percentunit", "Of all prompt tokens.",
          one(ratio(per_second("keyhole_cached_prompt_tokens_total"), per_second("keyhole_prompt_tokens_total")), "cached"),
          6),
    graph("Prefix cache hits", "percentunit", "Prompt tokens found, of those looked up.",
          one(ratio(per_second("keyhole_prefix_cache_hit_tokens_total"), per_second("keyhole_prefix_cache_queries_tokens_total")),
              "hit"), 6),
    graph("Prefix cache pages", "short", "Held, and given up per second.",
          [(f"sum({m('keyhole_prefix_cache_pages')})", "held"),
           (per_second("keyhole_prefix_cache_evicted_pages_total"), "given up per second")], 6),
    graph("Selected rows by place", "short", "With an accelerator that pages can leave, rows a second: of pages on it, "
          "fetched before, fetched from the host.", one(per_second("keyhole_kv_read_rows_total", group="from"), "{{from}}"),
          8, True),
    graph("KV bytes from the host", "Bps", "Rows and whole pages that were fetched.",
          one(per_second("keyhole_kv_fetched_bytes_total"), "fetched"), 8),
    graph("KV pages that left the accelerator", "ops", "Of sequences that run, or of cached prefixes.",
          one(per_second("keyhole_kv_spilled_pages_total"), "spilled"), 8),
]  # fmt: skip

LATENCY = [
    graph("Time to first token", "s", "From arrival, by prompt length: short to 1,024 tokens, medium to 16,384, long to "
          "131,072, huge beyond.", quantiles("keyhole_time_to_first_token_seconds", group="prompt_class", qs=(0.5, 0.95))),
    graph("Time per output token", "s", "An answer's mean after its first token, by prompt length.",
          quantiles("keyhole_time_per_output_token_seconds", group="prompt_class", qs=(0.5, 0.95))),
    graph("Gap between tokens", "s", "Jitter that a reader sees.", quantiles("keyhole_inter_token_seconds")),
    graph("Phases of a request, mean", "s", "Waiting, prefill, decode.",
          [(mean(f"keyhole_{phase}_seconds"), phase) for phase in ("queue", "prefill", "decode")], stack=True),
    graph("Phases of a request, p95", "s", "Waiting, prefill, decode.",
          [(quantile(0.95, f"keyhole_{phase}_seconds"), phase) for phase in ("queue", "prefill", "decode")]),
    graph("Generation calls, end to end", "s", "By method.",
          quantiles("keyhole_request_duration_seconds", group="method", qs=(0.5, 0.95))),
    heatmap("Generation calls, distribution", "s", "End to end.", increase("keyhole_request_duration_seconds")),
    graph("Prompt length", "short", "Tokens.", quantiles("keyhole_prompt_tokens")),
    graph("Answer length", "short", "Tokens.", quantiles("keyhole_output_tokens")),
]  # fmt: skip

SCHEDULER = [
    graph("Requests", "short", "In prefill or decode, and waiting for their first work.",
          [(f"sum({m(f'keyhole_scheduler_{state}_requests')})", state) for state in ("running", "waiting")]),
    graph("Waiting tokens", "short", "Prompt tokens of waiting requests: what autoscaling looks at.",
          one(m("keyhole_scheduler_waiting_tokens"), "{{instance}}")),
    graph("Tokens", "ops", "Of ended requests, a second.",
          [(per_second("keyhole_prompt_tokens_total"), "prompt"), (per_second("keyhole_output_tokens_total"), "output")]),
    graph("Step time", "s", "By what the step held.",
          quantiles("keyhole_step_duration_seconds", group="phase", qs=(0.5, 0.99))),
    graph("Step time by part", "percentunit", "Seconds of work a second.",
          one(per_second("keyhole_step_part_seconds_total", group="part"), "{{part}}"), stack=True),
    graph("Refused requests", "reqps", "By reason.",
          one(per_second("keyhole_admission_rejected_total", group="reason"), "{{reason}}")),
    graph("Completed answers", "reqps", "By what ended them.",
          one(per_second("keyhole_requests_finished_total", group="finish_reason"), "{{finish_reason}}"), 24, True),
]  # fmt: skip

GRPC = [
    graph("Calls that arrived", "reqps", "By method.",
          one(per_second("keyhole_grpc_server_call_started_total", group="method"), "{{method}}")),
    graph("Calls that ended", "reqps", "By code and reason.",
          one(per_second(CALLS, group="code, reason"), "{{code}} {{reason}}")),
    graph("Error ratio", "percentunit", "Calls that ended by a fault of the server.", one(ERRORS, "errors")),
    graph("Call time, p95", "s", "By method.",
          quantiles("keyhole_grpc_server_call_duration_seconds", group="method", qs=(0.95,))),
    graph("Streams that ended early", "ops", "By cause.",
          one(per_second("keyhole_stream_aborted_total", group="cause"), "{{cause}}")),
    graph("Stalled streams", "short", "Whose client has not read for more than a second.",
          one(f"sum({m('keyhole_stream_writes_stalled')})", "stalled")),
]  # fmt: skip

PROCESS = [
    stat("Servers up", "short", "That Prometheus could scrape.", f"sum({m('up')})"),
    stat("Servers ready", "short", "That take new requests.", f"sum({m('keyhole_ready')})"),
    stat("Oldest heartbeat", "s", "Age; the engine's thread comes round every few seconds even when idle.",
         f"max(time() - {m('keyhole_engine_heartbeat_timestamp_seconds')})"),
    stat("Youngest start", "s", "Time since a server last started.",
         f"min(time() - {m('process_start_time_seconds')})"),
    graph("Memory", "bytes", "Resident and virtual.",
          [(m("process_resident_memory_bytes"), "resident {{instance}}"),
           (m("process_virtual_memory_bytes"), "virtual {{instance}}")]),
    graph("CPU", "short", "Cores in use.", one(per_second("process_cpu_seconds_total", group="instance"), "{{instance}}")),
    graph("Threads", "short", "Of the process.", one(m("process_threads"), "{{instance}}")),
    graph("File descriptors in use", "percentunit", "Of those that may be open.",
          one(ratio(m("process_open_fds"), m("process_max_fds")), "{{instance}}")),
    graph("Faults of the engine", "ops", "By class.",
          one(per_second("keyhole_engine_errors_total", group="class"), "{{class}}")),
    graph("Model load time", "s", "At the last start.", one(m("keyhole_model_load_seconds"), "{{instance}}")),
    graph("Scrapes", "ops", "Of the metrics port.",
          one(per_second("exposer_scrapes_total", group="instance"), "{{instance}}")),
    graph("Scrape traffic", "Bps", "From the metrics port.",
          one(per_second("exposer_transferred_bytes_total", group="instance"), "{{instance}}")),
    graph("Scrape time, mean", "µs", "In the server.",
          one(mean("exposer_request_latencies", group="instance"), "{{instance}}")),
    panel("table", "Configuration", "none", "Model, policy and sizes.", one(m("keyhole_config_info")), 12),
    panel("table", "Build", "none", "Version and compiler.", one(m("keyhole_build_info")), 12),
]  # fmt: skip

ROWS = [("Selection", SELECTION), ("KV cache", KV), ("Latency", LATENCY), ("Scheduler", SCHEDULER), ("gRPC", GRPC),
        ("Process", PROCESS)]  # fmt: skip


def target(spec, expression, legend, ref):
    made = {"refId": ref, "datasource": datasource(), "expr": expression, "legendFormat": legend, "editorMode": "code"}
    if spec["kind"] == "heatmap":
        made["format"] = "heatmap"
    elif spec["kind"] == "table":
        made.update(format="table", instant=True, range=False)
    return made


def datasource():
    return {"type": "prometheus", "uid": "${datasource}"}


def options(kind):
    if kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    if kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    if kind == "heatmap":
        return {"calculate": False, "yAxis": {"unit": "s"}, "tooltip": {"mode": "single"}}
    return {"showHeader": True}


def make_panel(spec, identifier, x, y):
    targets = [target(spec, *pair, chr(ord("A") + i)) for i, pair in enumerate(spec["targets"])]
    names = sorted({name for each in targets for name in re.findall(r"([a-z_]+)\{", each["expr"])})
    defaults = {"unit": spec["unit"], "noValue": "No traffic"}
    if spec["kind"] == "timeseries":
        defaults["min"] = 0
        if spec["stack"]:
            defaults["custom"] = {"fillOpacity": 30, "stacking": {"mode": "normal", "group": "A"}}
    return {
        "id": identifier,
        "type": spec["kind"],
        "title": spec["title"],
        "description": f"{spec['description']} Metrics: {', '.join(names)}.",
        "datasource": datasource(),
        "gridPos": {"x": x, "y": y, "w": spec["width"], "h": HEIGHTS[spec["kind"]]},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options(spec["kind"]),
        "targets": targets,
    }


def make_panels():
    panels, y = [], 0
    for title, specs in ROWS:
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}})  # fmt: skip
        x, y, line = 0, y + 1, 0
        for spec in specs:
            if x + spec["width"] > WIDTH:
                x, y, line = 0, y + line, 0
            panels.append(make_panel(spec, len(panels) + 1, x, y))
            x, line = x + spec["width"], max(line, HEIGHTS[spec["kind"]])
        y += line
    return panels


def variable(name, label, query):
    return {"name": name, "label": label, "type": "query", "datasource": datasource(), "query": query, "refresh": 2,
            "sort": 1, "multi": True, "includeAll": True, "allValue": ".+",
            "current": {"text": "All", "value": "$__all"}}  # fmt: skip


def make_dashboard():
    return {
        "uid": "keyhole",
        "title": "Keyhole",
        "description": "Selective attention over paged host memory: latency and quality of selection, then the service.",
        "tags": ["keyhole"],
        "schemaVersion": 42,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["keyhole"], "title": "Keyhole", "asDropdown": True}],
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
                variable("job", "Job", "label_values(keyhole_build_info, job)"),
                variable("instance", "Instance", 'label_values(keyhole_build_info{job=~"$job"}, instance)'),
            ]
        },
        "panels": make_panels(),
    }


def text():
    return json.dumps(make_dashboard(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    OUTPUT.write_text(text())
