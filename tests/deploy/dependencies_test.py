"""The pinned lists: complete, hashed, and what this machine has installed."""

import pathlib
import re
import subprocess
import unittest

REPO = pathlib.Path(__file__).resolve().parents[2]
DEPENDENCIES = REPO / "deploy/dependencies"


def pins(name):
    lines = (DEPENDENCIES / f"{name}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


class Dependencies(unittest.TestCase):
    def test_every_python_package_has_version_and_hash(self):
        for name in ("python-build", "python-test", "python-oracle", "python-peer"):
            self.assertTrue(pins(name))
            for line in pins(name):
                self.assertRegex(line, r"^[a-z0-9-]+==[\w.]+( --hash=sha256:[0-9a-f]{64})+$", name)

    def test_locks_hold_what_was_asked_for(self):
        for name in ("python-test", "python-oracle", "python-peer"):
            locked = dict(line.split()[0].split("==") for line in pins(name))
            for line in (DEPENDENCIES / f"{name}.in").read_text().splitlines():
                if line and not line.startswith("#"):
                    package, _, version = line.partition("==")
                    self.assertIn(package, locked)
                    if version:
                        self.assertEqual(locked[package], version)

    def test_the_oracle_uses_the_same_libtorch(self):
        (torch,) = [line for line in pins("python-build") if line.startswith("torch==")]
        self.assertIn(torch, pins("python-oracle"))

    def test_system_packages_have_a_version_and_stand_once(self):
        names = []
        for line in (DEPENDENCIES / "apt.txt").read_text().partition("[image-runtime]")[0].splitlines():
            if re.match(r"[a-z]", line):
                name, _version = line.split()
                names.append(name)
        self.assertEqual(len(names), len(set(names)))

    def test_cmake_finds_only_listed_packages(self):
        listed = subprocess.run(
            ["git", "ls-files", "*CMakeLists.txt", "*.cmake"], cwd=REPO, check=True, capture_output=True, text=True
        ).stdout.split()
        text = "\n".join((REPO / path).read_text() for path in listed)
        found = set(re.findall(r"find_package\((\w[\w-]*)", text)) - {"Threads", "PkgConfig"}
        found.discard("CUDAToolkit")  # only of a build for GPUs; no Debian package: the image's base has it
        found |= set(re.findall(r"pkg_check_modules\(\w+ REQUIRED IMPORTED_TARGET ([\w-]+)", text))
        development = {
            "absl": "libabsl-dev", "fmt": "libfmt-dev", "spdlog": "libspdlog-dev", "nlohmann_json": "nlohmann-json3-dev",
            "Protobuf": "libprotobuf-dev", "gRPC": "libgrpc++-dev", "prometheus-cpp": "prometheus-cpp-dev",
            "OpenSSL": "libssl-dev", "GTest": "libgtest-dev", "benchmark": "libbenchmark-dev", "CLI11": "libcli11-dev",
            "libpcre2-8": "libpcre2-dev", "sentencepiece": "libsentencepiece-dev", "libutf8proc": "libutf8proc-dev",
        }  # fmt: skip
        packages = (DEPENDENCIES / "apt.txt").read_text()
        for name in found:
            self.assertIn(name, development)
            self.assertRegex(packages, rf"(?m)^{re.escape(development[name])}\s")


class Scripts(unittest.TestCase):
    def run_script(self, *command, **options):
        return subprocess.run(command, capture_output=True, text=True, cwd="/", stdin=subprocess.DEVNULL, **options)

    def test_help_and_bad_arguments(self):
        for script in ("deploy/setup.sh", "deploy/quickstart.sh", "tests/run.sh", "tests/bench/run.sh"):
            self.assertEqual(self.run_script(REPO / script, "--help").returncode, 0, script)
            bad = self.run_script(REPO / script, "--no-such-argument")
            self.assertEqual(bad.returncode, 1, script)
            self.assertIn("unknown argument: --no-such-argument", bad.stderr)

    def test_setup_says_when_there_is_no_room(self):
        result = self.run_script(REPO / "deploy/setup.sh", "--no-apt", "--cache", "/proc/keyhole")
        self.assertEqual(result.returncode, 1)
        self.assertIn("too little disk: 0 GB free for /proc/keyhole", result.stderr)

    def test_quickstart_names_what_is_missing(self):
        for argument, message in (("--model", "no model at /none"), ("--document", "cannot read the document /none")):
            result = self.run_script(REPO / "deploy/quickstart.sh", argument, "/none")
            self.assertEqual(result.returncode, 1)
            self.assertIn(message, result.stderr)


if __name__ == "__main__":
    unittest.main()
