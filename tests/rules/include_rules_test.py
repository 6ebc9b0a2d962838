"""Who may include whom, and other rules of engine/README.md that a search through the sources can check."""

import collections
import pathlib
import re
import subprocess
import unittest

REPO = pathlib.Path(__file__).resolve().parents[2]
SOURCE = re.compile(r"^(engine|server|client)/.*\.(h|cc|cu|cuh)$")
INCLUDE = re.compile(r'^#\s*include\s+["<]([^">]+)[">]', re.MULTILINE)

# Folder -> folders whose headers it may include, beside itself and the plain headers directly in engine/.
PLAIN = {"types.h", "check.h", "status_macros.h", "scoped_timer.h", "sha256.h"}
ALLOWED = {
    "engine/device": set(),
    "engine/kv": {"device"},
    "engine/ops": {"device", "kv"},
    "engine/selection": {"device", "kv", "ops", "selection_stats"},
    "engine/request": {"kv"},
    "engine/scheduler": {"kv", "request"},
    "engine/batch": {"kv", "request", "scheduler", "selection_stats"},
    "engine/sampling": {"device", "request"},
    "engine/tokenizer": {"request"},
    "engine/attention": {"batch", "device", "kv", "ops", "selection", "model_config"},
    "engine/parallel": {"batch", "device", "request", "kv", "engine_config"},
    "engine/model": {
        "attention", "batch", "device", "kv", "ops", "parallel", "selection", "tokenizer", "engine_config",
    },
    "engine/calibration": {
        "attention", "device", "kv", "model", "ops", "sampling", "selection", "tokenizer", "engine_config",
    },
    "engine/telemetry": {"batch", "request", "scheduler"},
    "engine/runtime": {
        "attention", "batch", "device", "kv", "model", "parallel", "request", "sampling", "scheduler", "selection", "telemetry",
        "tokenizer", "engine", "engine_config", "engine_dependencies",
    },
}  # fmt: skip
# Single headers that are plain data and may be seen from where their folder may not.
NAMED_HEADERS = {
    "engine/model/model_config.h": "model_config",
    "engine/engine.h": "engine",
    "engine/telemetry/selection_stats.h": "selection_stats",
    "engine/engine_config.h": "engine_config",
    "engine/engine_dependencies.h": "engine_dependencies",
}
# What the server may use of the engine.
SERVER_MAY = re.compile(r"engine/(engine|engine_config|types|check|status_macros)\.h|engine/(request|telemetry)/\w+\.h")
LIBTORCH = re.compile(r"^(ATen|c10|torch|caffe2)/")
SERVICE_LIBRARIES = re.compile(r"^(grpc|grpcpp|google/protobuf|google/rpc|prometheus|keyhole)/")
WITHOUT_LIBTORCH = re.compile(
    r"^(engine/(device|request|scheduler|batch|telemetry|tokenizer|sampling|kv|ops/cpu|ops/cuda|attention/cuda|model/cuda)/|server/|client/)"
)


def sources():
    listed = subprocess.run(["git", "ls-files"], cwd=REPO, check=True, capture_output=True, text=True).stdout.split()
    return [path for path in listed if SOURCE.match(path) and (REPO / path).exists()]


def folder(path):
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] == "engine" else parts[0]


class Includes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = {path: (REPO / path).read_text() for path in sources()}
        cls.includes = {path: INCLUDE.findall(text) for path, text in cls.text.items()}

    def expect_none(self, wrong):
        self.assertFalse(wrong, "\n" + "\n".join(wrong))

    def pairs(self):
        return [(path, header) for path, headers in self.includes.items() for header in headers]

    def test_there_is_something_to_check(self):
        self.assertGreater(len(self.text), 100)

    def test_dependencies_of_the_engine_point_down(self):
        wrong = []
        for path, header in self.pairs():
            parts = path.split("/")
            if parts[0] != "engine" or len(parts) == 2 or not header.startswith("engine/"):
                continue
            home, there = folder(path), folder(header)
            self.assertIn(home, ALLOWED, "a new folder needs a line in ALLOWED")
            target = NAMED_HEADERS.get(header, there.removeprefix("engine/"))
            reachable = {target, there.removeprefix("engine/")} & ALLOWED[home]
            if there != home and header.removeprefix("engine/") not in PLAIN and not reachable:
                wrong.append(f"{path} includes {header}")
        self.expect_none(wrong)

    def test_the_server_uses_the_engine_by_its_front_door(self):
        # main alone puts the parts together.
        self.expect_none([
            f"{path} includes {header}" for path, header in self.pairs()
            if path.startswith("server/") and path != "server/main.cc" and header.startswith("engine/")
            and not SERVER_MAY.fullmatch(header)
        ])  # fmt: skip

    def test_the_engine_knows_no_service(self):
        self.expect_none([
            f"{path} includes {header}" for path, header in self.pairs()
            if path.startswith("engine/") and (SERVICE_LIBRARIES.match(header) or header.startswith(("server/", "client/")))
        ])  # fmt: skip

    def test_the_client_knows_only_the_api(self):
        self.expect_none([
            f"{path} includes {header}" for path, header in self.pairs()
            if path.startswith("client/") and header.startswith(("engine/", "server/"))
        ])  # fmt: skip

    def test_light_folders_compile_without_libtorch(self):
        def reaches_libtorch(path, seen):
            for header in self.includes.get(path, []):
                if LIBTORCH.match(header):
                    return f"{path} includes {header}"
                if header not in seen:
                    seen.add(header)
                    if found := reaches_libtorch(header, seen):
                        return found
            return None

        wrong = []
        for path in self.text:
            if WITHOUT_LIBTORCH.match(path) and path != "server/main.cc" and (found := reaches_libtorch(path, set())):
                wrong.append(f"{path}: {found}")
        self.expect_none(wrong)

    def test_kernels_stand_alone(self):
        self.expect_none([
            f"{path} includes {header}" for path, header in self.pairs()
            if path.startswith("engine/ops/cuda/kernels/") and "/" in header
            and not header.startswith("engine/ops/cuda/kernels/")
        ])  # fmt: skip

    def test_cuda_is_known_in_its_folders_only(self):
        self.expect_none([
            f"{path} includes {header}" for path, header in self.pairs()
            if header.startswith("cuda") and not re.match(r"engine/(device|ops)/cuda/", path)
        ])  # fmt: skip

    def test_operators_are_reached_by_their_headers(self):
        self.expect_none([
            f"{path} includes {header}" for path, header in self.pairs()
            if header.startswith("engine/ops/cpu/") and not path.startswith("engine/ops/")
        ])  # fmt: skip

    def test_who_may_launch(self):
        # Operators on the accelerator are reached by their launchers.
        self.expect_none([
            f"{path} includes {header}" for path, header in self.pairs()
            if header.startswith("engine/ops/cuda/kernels/") and not path.startswith("engine/ops/cuda/")
        ])  # fmt: skip

    def test_headers_do_not_include_each_other_in_a_circle(self):
        state = collections.defaultdict(int)

        def visit(path, trail):
            if state[path] == 1:
                self.fail(" -> ".join([*trail, path]))
            if state[path] == 0:
                state[path] = 1
                for header in self.includes.get(path, []):
                    if header in self.text:
                        visit(header, [*trail, path])
                state[path] = 2

        for path in self.text:
            visit(path, [])


class Habits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = {path: (REPO / path).read_text() for path in sources()}

    def matches(self, pattern, outside=r"(?!)"):
        expression, spared = re.compile(pattern), re.compile(outside)
        return [
            f"{path}:{number}: {line.strip()}"
            for path, text in self.text.items() if not spared.match(path)
            for number, line in enumerate(text.splitlines(), 1) if expression.search(line)
        ]  # fmt: skip

    def test_instruction_sets_and_cuda_are_asked_about_in_device_and_ops_only(self):
        self.assertEqual(self.matches(r"^\s*#\s*if.*(CUDA|__AVX|__SSE|__x86)", outside=r"engine/(device|ops)/"), [])

    def test_no_environment_variables(self):
        self.assertEqual(self.matches(r"\b(secure_)?getenv\("), [])

    def test_headers_are_guarded(self):
        self.assertEqual([path for path, text in self.text.items() if path.endswith(".h") and "#pragma once" not in text], [])

    def test_nothing_is_left_to_do(self):
        self.assertEqual(self.matches(r"\b(TODO|FIXME|XXX|HACK)\b|not implemented"), [])

    def test_files_stay_small(self):
        # *_impl.h are bodies that several files compile, each for its instruction set.
        def limit(path):
            return 250 if path.endswith((".h", ".cuh")) and not path.endswith("_impl.h") else 600

        self.assertEqual([path for path, text in self.text.items() if text.count("\n") > limit(path)], [])


if __name__ == "__main__":
    unittest.main()
