"""Kubernetes manifests: rendered by kubectl, checked against the schemas, then against the rules that no schema knows."""

import configparser
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import yaml

REPO = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(sys.executable).parent
OVERLAYS = sorted(path.parent for path in REPO.glob("deploy/kubernetes/overlays/*/kustomization.yaml"))
# Kinds without a schema in kubernetes-validate; checked by hand below.
CUSTOM_KINDS = {"PodMonitor", "PrometheusRule"}
DATA_SERVICE = "keyhole.v1.GenerationService"
# What the server takes beside KV pages and gRPC's messages: for each running request, and for weights, activations and the
# process itself. Of small models; server.conf says the same.
BYTES_OF_A_REQUEST = 64 << 20
REMAINDER = 1 << 30

# Stands for keyhole-calibrate: writes its arguments to where the calibration belongs.
CALIBRATE = """#!/bin/sh
while [ $# -gt 1 ]; do
  case $1 in --model) model=$2 ;; --out) out=$2 ;; --threads) threads=$2 ;; esac
  shift 2
done
echo "$model $threads" >"$out"
"""


def render(overlay):
    return subprocess.run([BIN / "kubectl", "kustomize", overlay], check=True, capture_output=True, text=True).stdout


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def size_bytes(text):
    number, unit = re.fullmatch(r"(\d+)\s*([KMG])iB?", text).groups()
    return int(number) << {"K": 10, "M": 20, "G": 30}[unit]


class Manifests(unittest.TestCase):
    """Each test looks at every overlay."""

    @classmethod
    def setUpClass(cls):
        cls.overlays = {path.name: list(yaml.safe_load_all(render(path))) for path in OVERLAYS}

    def each(self, kind):
        for name, objects in self.overlays.items():
            found = [item for item in objects if item["kind"] == kind]
            self.assertEqual(len(found), 1, f"{kind} in {name}")
            with self.subTest(overlay=name):
                yield found[0], objects

    def each_pod(self):
        for deployment, objects in self.each("Deployment"):
            yield deployment["spec"]["template"], objects

    def config(self, objects):
        (config,) = [item for item in objects if item["kind"] == "ConfigMap"]
        settings = configparser.ConfigParser()
        settings.read_string("[server]\n" + config["data"]["server.conf"])
        return {name: value.strip('"') for name, value in settings["server"].items()}

    def test_there_are_overlays(self):
        self.assertIn("cpu", self.overlays)

    def test_schemas(self):
        for name, objects in self.overlays.items():
            with self.subTest(overlay=name), tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                yaml.safe_dump_all([item for item in objects if item["kind"] not in CUSTOM_KINDS], file)
                file.flush()
                result = subprocess.run(
                    [BIN / "kubernetes-validate", "--strict", file.name], capture_output=True, text=True
                )
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
                self.assertNotIn("WARN", result.stdout + result.stderr)

    def test_grace_covers_sleep_drain_and_watchdog(self):
        for pod, objects in self.each_pod():
            (server,) = pod["spec"]["containers"]
            sleep = server["lifecycle"]["preStop"]["sleep"]["seconds"]
            drain = int(self.config(objects)["drain-timeout"])
            self.assertEqual(pod["spec"]["terminationGracePeriodSeconds"], sleep + drain + 15)
            ready = server["readinessProbe"]
            self.assertGreaterEqual(sleep, ready["periodSeconds"] * ready["failureThreshold"])

    def test_probes(self):
        for pod, _ in self.each_pod():
            (server,) = pod["spec"]["containers"]
            ports = {port["name"]: port["containerPort"] for port in server["ports"]}
            for probe, service in (("startupProbe", DATA_SERVICE), ("readinessProbe", DATA_SERVICE), ("livenessProbe", "")):
                self.assertEqual(server[probe]["grpc"]["port"], ports["grpc"], probe)
                self.assertEqual(server[probe]["grpc"].get("service", ""), service, probe)
                self.assertLess(server[probe]["timeoutSeconds"], server[probe]["periodSeconds"] + 1, probe)
            startup = server["startupProbe"]
            self.assertGreaterEqual(startup["periodSeconds"] * startup["failureThreshold"], 300)
            liveness = server["livenessProbe"]
            self.assertGreaterEqual(liveness["periodSeconds"] * liveness["failureThreshold"], 60)

    def test_pod_is_confined(self):
        for pod, _ in self.each_pod():
            spec = pod["spec"]
            self.assertIs(spec["automountServiceAccountToken"], False)
            self.assertIs(spec["securityContext"]["runAsNonRoot"], True)
            self.assertGreater(spec["securityContext"]["runAsUser"], 0)
            self.assertEqual(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault")
            for key in ("hostNetwork", "hostPID", "hostIPC"):
                self.assertNotIn(key, spec)
            for container in spec["containers"] + spec.get("initContainers", []):
                self.assertIs(container["securityContext"]["allowPrivilegeEscalation"], False)
                self.assertIs(container["securityContext"]["readOnlyRootFilesystem"], True)
                self.assertEqual(container["securityContext"]["capabilities"], {"drop": ["ALL"]})
        for account, _ in self.each("ServiceAccount"):
            self.assertIs(account["automountServiceAccountToken"], False)

    def test_same_user_as_the_image(self):
        (user,) = re.findall(r"^USER (\d+):(\d+)$", (REPO / "Dockerfile").read_text(), re.MULTILINE)
        for pod, _ in self.each_pod():
            context = pod["spec"]["securityContext"]
            self.assertEqual((str(context["runAsUser"]), str(context["runAsGroup"])), user)

    def test_settings_are_flags_of_the_server(self):
        flags = set(re.findall(r'"--([a-z-]+)"', (REPO / "server/flags.cc").read_text()))
        for _, objects in self.each_pod():
            self.assertLessEqual(set(self.config(objects)), flags)

    def test_resources_are_guaranteed(self):
        for pod, objects in self.each_pod():
            (server,) = pod["spec"]["containers"]
            self.assertEqual(server["resources"]["requests"], server["resources"]["limits"])
            self.assertRegex(server["resources"]["limits"]["cpu"], r"^\d+$")
            self.assertEqual(server["resources"]["limits"]["cpu"], self.config(objects)["threads"])
            for container in pod["spec"]["initContainers"]:
                self.assertEqual(container["resources"], server["resources"])

    def test_memory_holds_all_that_the_server_may_take(self):
        for pod, objects in self.each_pod():
            (server,) = pod["spec"]["containers"]
            config = self.config(objects)
            taken = size_bytes(config["kv-memory"]) + size_bytes(config["transport-memory"])
            taken += int(config["max-running"]) * BYTES_OF_A_REQUEST + REMAINDER
            self.assertGreaterEqual(size_bytes(server["resources"]["limits"]["memory"]), taken)

    def test_image_is_pinned_and_the_same_everywhere(self):
        for pod, _ in self.each_pod():
            (server,) = pod["spec"]["containers"]
            self.assertRegex(server["image"], r"(:\d+\.\d+\.\d+|@sha256:[0-9a-f]{64})$")
            for container in pod["spec"]["initContainers"]:
                self.assertEqual(container["image"], server["image"])

    def calibrate(self, pod, root):
        """Runs what comes before the server with `root` as the container's root; its output."""
        (calibration,) = pod["spec"]["initContainers"]
        *shell, script = calibration["command"]
        for mount in calibration["volumeMounts"]:
            script = re.sub(rf"(?<![\w.]){mount['mountPath']}(?=/)", f"{root}{mount['mountPath']}", script)
        (cpus,) = calibration["env"]
        self.assertEqual(cpus["valueFrom"], {"resourceFieldRef": {"resource": "limits.cpu"}})
        environment = {"PATH": f"{root}/bin:{os.environ['PATH']}", cpus["name"]: calibration["resources"]["limits"]["cpu"]}
        return subprocess.run([*shell, script], check=True, capture_output=True, text=True, env=environment).stdout

    def test_the_calibration_is_there_before_the_server_starts(self):
        for pod, objects in self.each_pod():
            config = self.config(objects)
            with tempfile.TemporaryDirectory() as scratch:
                root = pathlib.Path(scratch)
                for folder in ("bin", "models", "calibration"):
                    (root / folder).mkdir()
                (root / "bin/keyhole-calibrate").write_text(CALIBRATE)
                (root / "bin/keyhole-calibrate").chmod(0o755)
                found = root / config["calibration"][1:]
                self.assertIn("for this pod", self.calibrate(pod, root))
                self.assertEqual(found.read_text(), f"{root}{config['model']} {config['threads']}\n")
                # Once for all restarts of the pod.
                self.assertEqual(self.calibrate(pod, root), "")
                # The one beside the model, where the server would look by itself, goes before it.
                beside = root / config["model"].replace(".gguf", ".calibration.safetensors")[1:]
                beside.write_text("stored")
                self.assertEqual(self.calibrate(pod, root), "")
                self.assertEqual(found.read_text(), "stored")

    def test_volumes_are_used_and_written_by_nobody_but_the_calibration(self):
        for pod, _ in self.each_pod():
            (server,) = pod["spec"]["containers"]
            self.assertEqual(
                {mount["name"] for mount in server["volumeMounts"]}, {volume["name"] for volume in pod["spec"]["volumes"]}
            )
            for mount in server["volumeMounts"]:
                self.assertIs(mount["readOnly"], True, mount["name"])
            (calibration,) = pod["spec"]["initContainers"]
            writable = [mount["name"] for mount in calibration["volumeMounts"] if not mount.get("readOnly")]
            self.assertEqual(writable, ["calibration"])
            paths = [mount["mountPath"] for mount in server["volumeMounts"]]
            for _, objects in self.each("Deployment"):
                self.assertTrue(any(self.config(objects)["model"].startswith(path + "/") for path in paths))

    def test_selectors_match_the_pods(self):
        for pod, objects in self.each_pod():
            labels = pod["metadata"]["labels"]
            by_kind = {item["kind"]: item["spec"] for item in objects if "spec" in item}
            selectors = [
                by_kind["Deployment"]["selector"]["matchLabels"],
                by_kind["Service"]["selector"],
                by_kind["NetworkPolicy"]["podSelector"]["matchLabels"],
                by_kind["PodDisruptionBudget"]["selector"]["matchLabels"],
                by_kind["PodMonitor"]["selector"]["matchLabels"],
                pod["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
            ]
            for selector in selectors:
                self.assertTrue(selector)
                self.assertLessEqual(selector.items(), labels.items())

    def test_ports_agree(self):
        for pod, objects in self.each_pod():
            (server,) = pod["spec"]["containers"]
            ports = {port["name"]: port["containerPort"] for port in server["ports"]}
            config = self.config(objects)
            self.assertEqual(config["listen"], f"0.0.0.0:{ports['grpc']}")
            self.assertEqual(config["metrics-listen"], f"0.0.0.0:{ports['metrics']}")
            by_kind = {item["kind"]: item["spec"] for item in objects if "spec" in item}
            self.assertEqual(by_kind["Service"]["clusterIP"], "None")
            for port in by_kind["Service"]["ports"]:
                self.assertIn(port["targetPort"], ports)
                self.assertEqual(port["port"], ports[port["targetPort"]])
                self.assertIn(port["appProtocol"], ("grpc", "kubernetes.io/h2c"))
            for rule in by_kind["NetworkPolicy"]["ingress"]:
                for port in rule["ports"]:
                    self.assertIn(port["port"], ports)
            for endpoint in by_kind["PodMonitor"]["podMetricsEndpoints"]:
                self.assertIn(endpoint["port"], ports)
                self.assertLess(seconds(endpoint["scrapeTimeout"]), seconds(endpoint["interval"]))

    def test_network_policy_covers_both_directions(self):
        for policy, _ in self.each("NetworkPolicy"):
            self.assertEqual(sorted(policy["spec"]["policyTypes"]), ["Egress", "Ingress"])
            for rule in policy["spec"]["ingress"]:
                self.assertTrue(rule["from"])
            for rule in policy["spec"]["egress"]:
                self.assertEqual({port["port"] for port in rule["ports"]}, {53})

    def test_an_update_never_lowers_the_number_of_ready_pods(self):
        for deployment, _ in self.each("Deployment"):
            self.assertEqual(deployment["spec"]["strategy"]["rollingUpdate"], {"maxUnavailable": 0, "maxSurge": 1})
        for budget, _ in self.each("PodDisruptionBudget"):
            self.assertEqual(budget["spec"]["maxUnavailable"], 1)


if __name__ == "__main__":
    unittest.main()
