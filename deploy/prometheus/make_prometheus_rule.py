#!/usr/bin/env python3
"""Writes the Kubernetes form of rules.yml, a PrometheusRule for the Prometheus operator. Needs PyYAML."""

import pathlib

import yaml

HERE = pathlib.Path(__file__).resolve().parent
OUTPUT = HERE.parent / "kubernetes/base/prometheus-rule.yaml"
HEADER = "# Made by deploy/prometheus/make_prometheus_rule.py from rules.yml.\n"


def text():
    groups = yaml.safe_load((HERE / "rules.yml").read_text())["groups"]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "keyhole"},
        "spec": {"groups": groups},
    }
    return HEADER + yaml.safe_dump(rule, sort_keys=False, width=120)


if __name__ == "__main__":
    OUTPUT.write_text(text())
