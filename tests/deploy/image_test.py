"""Dockerfile and what it runs: lint, paths, packages, and the SBOM. Building an image needs a container engine; this does not."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

REPO = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(sys.executable).parent
DOCKERFILE = (REPO / "Dockerfile").read_text()
DEPENDENCIES = REPO / "deploy/dependencies"
# Of the image, by their places in the build folder.
PROGRAMS = ("server/keyhole-server", "client/keyhole", "engine/calibration/keyhole-calibrate")


def instructions():
    """(stage, keyword, rest) of each instruction, with continued lines joined."""
    stage, found = "", []
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    for line in filter(str.strip, joined.splitlines()):
        keyword, rest = line.split(maxsplit=1)
        if keyword == "FROM":
            stage = rest.split(" AS ")[1]
        found.append((stage, keyword, rest))
    return found


def ignored(path):
    """Does .dockerignore, an allow list of top folders, keep this path out?"""
    allowed = [line[1:] for line in (REPO / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    return path != "." and path.split("/")[0] not in allowed


def section(name):
    lines = (DEPENDENCIES / "apt.txt").read_text().splitlines()
    start = lines.index(f"[{name}]") + 1
    end = next((i for i in range(start, len(lines)) if lines[i].startswith("[")), len(lines))
    return [line.split() for line in lines[start:end] if line and not line.startswith("#")]


class Image(unittest.TestCase):
    def test_hadolint(self):
        result = subprocess.run([BIN / "hadolint", REPO / "Dockerfile"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_copied_paths_exist_and_reach_the_build(self):
        for _, keyword, rest in instructions():
            if keyword == "COPY" and "--from" not in rest:
                for path in rest.split()[:-1]:
                    self.assertTrue((REPO / path).exists(), path)
                    self.assertFalse(ignored(path), path)

    def test_scripts_that_are_run_exist_and_are_executable(self):
        commands = " ".join(rest for _, keyword, rest in instructions() if keyword == "RUN")
        scripts = set(re.findall(r"(?<![\w/])(?:/mnt/)?((?:deploy|tests)/[\w/]+\.sh)", commands))
        self.assertGreaterEqual(len(scripts), 4)
        for script in scripts:
            self.assertTrue(os.access(REPO / script, os.X_OK), script)

    def test_all_programs_are_built_and_tried(self):
        names = [pathlib.Path(program).name for program in PROGRAMS]
        (targets,) = re.findall(r"--target ((?:keyhole[\w-]*\s+)+)", DOCKERFILE)
        self.assertEqual(targets.split(), names)
        (tried,) = re.findall(r"for program in (.*); do", (REPO / "deploy/image/install_runtime.sh").read_text())
        self.assertEqual(tried.split(), names)

    def test_stages(self):
        stages = [rest.split(" AS ")[1] for _, keyword, rest in instructions() if keyword == "FROM"]
        self.assertEqual(stages, ["deps", "build", "test", "runtime"])

    def test_runtime_stage(self):
        runtime = [(keyword, rest) for stage, keyword, rest in instructions() if stage == "runtime"]
        self.assertRegex(dict(runtime)["FROM"], r"^nvidia/cuda:\$\{CUDA_VERSION\}-base-ubuntu24\.04 AS runtime$")
        self.assertRegex(dict(runtime)["USER"], r"^[1-9]\d*:[1-9]\d*$")
        self.assertEqual(json.loads(dict(runtime)["ENTRYPOINT"]), ["/usr/local/bin/keyhole-server"])
        for label in ("title", "version", "revision", "created"):
            self.assertIn(f"org.opencontainers.image.{label}=", dict(runtime)["LABEL"])
        compilers = ("gcc", "g++", "clang", "cmake", "ninja", "python3", "pip")
        for name, *_ in section("image-runtime"):
            self.assertFalse(name.endswith("-dev") or name.startswith(compilers), name)

    def test_sbom_names_every_package(self):
        command = [REPO / "deploy/image/sbom.sh", "1.2.3", "2025-01-01T00:00:00Z", DEPENDENCIES / "python-build.txt"]
        document = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        self.assertEqual(document["spdxVersion"], "SPDX-2.3")
        ids = [package["SPDXID"] for package in document["packages"]]
        self.assertEqual(len(ids), len(set(ids)))
        for identifier in ids:
            self.assertRegex(identifier, r"^SPDXRef-[A-Za-z0-9.-]+$")
        listed = {package["name"]: package["versionInfo"] for package in document["packages"]}
        installed = subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n"], check=True, capture_output=True, text=True
        ).stdout.splitlines()
        for line in installed:
            status, name = line.split()
            if status == "installed":
                self.assertIn(name, listed)
        self.assertEqual(listed["keyhole-server"], "1.2.3")
        self.assertEqual(listed["torch"], "2.11.0")
        related = {relation["relatedSpdxElement"] for relation in document["relationships"]}
        self.assertEqual(related, set(ids))


class Collect(unittest.TestCase):
    """collect.sh on small programs that stand for the real ones."""

    def test_takes_the_libraries_of_the_wheels_and_no_others(self):
        with tempfile.TemporaryDirectory() as scratch:
            root = pathlib.Path(scratch)
            library = root / "deps/torch/lib/libpart.so"
            for folder in ("deps/torch/lib", "deps/torch/licenses", "deps/nvidia/licenses", "build"):
                (root / folder).mkdir(parents=True)
            (root / "deps/torch/licenses/torch-LICENSE").write_text("terms")
            (root / "build/CMakeCache.txt").write_text(f"KEYHOLE_DEPS_DIR:PATH={root}/deps\n")
            compile_c = ["gcc", "-x", "c", "-"]
            subprocess.run(
                [*compile_c, "-shared", "-fPIC", "-o", library], input="int Part(void) { return 0; }", text=True, check=True
            )
            for program in PROGRAMS:
                (root / "build" / program).parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(
                    [*compile_c, "-o", root / "build" / program, f"-L{library.parent}", "-lpart", f"-Wl,-rpath,{library.parent}"],
                    input="int Part(void); int main(void) { return Part(); }", text=True, check=True,
                )  # fmt: skip
            subprocess.run([REPO / "deploy/image/collect.sh", root / "build", root / "rootfs"], check=True)
            copied = sorted(str(path.relative_to(root / "rootfs")) for path in (root / "rootfs").rglob("*") if path.is_file())
            self.assertEqual(
                copied,
                sorted([
                    f"{library}"[1:],
                    "usr/local/bin/keyhole",
                    "usr/local/bin/keyhole-calibrate",
                    "usr/local/bin/keyhole-server",
                    "usr/share/doc/keyhole/torch-licenses/torch-LICENSE",
                ]),
            )  # fmt: skip


if __name__ == "__main__":
    unittest.main()
