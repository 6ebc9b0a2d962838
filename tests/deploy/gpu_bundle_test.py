"""gpu.sh with small programs that stand for the real ones: what it takes to a machine with a GPU, and what it says there. Needs
neither a GPU nor CUDA."""

import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

REPO = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = (REPO / "tests/gpu.sh").read_text()
PIECES = subprocess.run([REPO / "tests/gpu.sh", "pieces"], check=True, capture_output=True, text=True).stdout.split()
PROGRAMS = re.search(r"^PROGRAMS=\((.*)\)$", SCRIPT, re.MULTILINE)[1].split()

PASSED = 'echo "[  PASSED  ] 3 tests."'
# A bench that prints what it was asked for; the sanitizer runs what follows its own options.
BENCH = """printf '{"asked": "%s"}\\n' "$*" """
SANITIZER = 'while [ "${1#--}" != "$1" ]; do shift 2; done; exec "$@"'
NO_GPU = 'echo "choosing the GPU: no \\"CUDA-capable\\" device" >&2; exit 1'


class Scratch(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)

    def write_program(self, path, body):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def write_script(self, path, **constants):
        """gpu.sh with other values of its constants, and without what this machine has of CUDA."""
        text = SCRIPT.replace("/usr/local/cuda", f"{self.root}/cuda")
        for name, value in constants.items():
            text, n = re.subn(rf"^{name}=\d+", f"{name}={value}", text, flags=re.MULTILINE)
            self.assertEqual(n, 1, name)
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path


class Pieces(Scratch):
    """A bundle's folder."""

    def setUp(self):
        super().setUp()
        for program in ("gpu_ops_test", "gpu_model_test"):
            self.write_program(f"bin/{program}", PASSED)
        for program in ("gpu_kernels_bench", "gpu_decode_bench"):
            self.write_program(f"bin/{program}", BENCH)
        self.write_program("cuda/bin/compute-sanitizer", SANITIZER)
        self.write_program("path/python3", '[ "$1" = -c ] || echo "{\\"libraries\\": \\"$LD_LIBRARY_PATH\\"}"')

    def run_pieces(self, *pieces, **constants):
        """The exit status, and each line as an object."""
        environment = {"PATH": f"{self.root}/path:/usr/bin:/bin", "LD_LIBRARY_PATH": "/inherited"}
        command = [self.write_script("gpu.sh", **constants), *pieces]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
        self.said = done.stderr
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    def run_one(self, piece, **constants):
        status, lines = self.run_pieces(piece, **constants)
        self.assertEqual(status, 0 if lines[-1]["result"] == "passed" else 1)
        return lines[-1]

    def test_all_pieces_run(self):
        status, lines = self.run_pieces(*PIECES)
        results = [line for line in lines if "piece" in line]
        self.assertEqual(status, 0, lines)
        self.assertEqual([line["piece"].split()[0] for line in results], PIECES)
        self.assertEqual({line["result"] for line in results}, {"passed"})
        asked = [line["asked"] for line in lines if "asked" in line]
        for residency in ("host", "auto", "device"):
            self.assertIn(f"{residency} --kv bf16", asked)
            self.assertIn(f"{residency} --kv int8", asked)
        self.assertIn({"libraries": "/inherited"}, lines)

    def test_the_readme_names_all_pieces(self):
        named = re.findall(r"^    \./gpu\.sh (.*?)(?:  .*)?$", (REPO / "tests/README.md").read_text(), re.MULTILINE)
        self.assertEqual(sorted(" ".join(named).split()), sorted(PIECES))

    def test_without_a_gpu_every_piece_says_so(self):
        self.write_program("bin/gpu_kernels_bench", NO_GPU)
        status, lines = self.run_pieces(*PIECES)
        self.assertEqual(status, 1)
        self.assertEqual([line["piece"] for line in lines], PIECES)
        for line in lines:
            self.assertEqual(line["result"], "failed")
            self.assertEqual(line["problem"], "the GPU cannot be used: choosing the GPU: no CUDA-capable device")

    def test_what_takes_too_long_is_ended(self):
        for piece, program in (("tests", "gpu_ops_test"), ("bench-decode-device", "gpu_decode_bench")):
            self.write_program(f"bin/{program}", "exec sleep 60")
            line = self.run_one(piece, SECONDS_A_PIECE=1)
            self.assertEqual((line["result"], line["problem"]), ("failed", "took longer than 1 s"))

    def test_a_crash_is_a_failure(self):
        self.write_program("bin/gpu_model_test", f"{PASSED}; kill -SEGV $$")
        line = self.run_one("rank-tests")
        self.assertEqual((line["result"], line["status"], line["problem"]), ("failed", 139, "ended by signal 11"))

    def test_no_test_is_a_failure(self):
        self.write_program("bin/gpu_ops_test", 'echo "[  PASSED  ] 0 tests."')
        self.assertEqual(self.run_one("tests")["result"], "failed")

    def test_failed_tests_are_counted_in_the_brief_form_too(self):
        lines = ["[  FAILED  ] A.One (3 ms)", "[  FAILED  ] B/C.Two/1, where GetParam() = 2 (4 ms)", "[  PASSED  ] 5 tests."]
        closing = ["[  FAILED  ] 2 tests, listed below:", "[  FAILED  ] A.One", "[  FAILED  ] B/C.Two/1, where GetParam() = 2"]
        for log in (lines, lines + closing):
            self.write_program("bin/gpu_ops_test", "cat <<'END'\n" + "\n".join(log) + "\nEND\nexit 1")
            line = self.run_one("sanitizer-memory")
            self.assertEqual((line["result"], line["passed"], line["failed"]), ("failed", 5, 2))
            self.assertIn("A.One (3 ms)", self.said)

    def test_the_sanitizer_is_looked_for_in_the_toolkit(self):
        shutil.move(self.root / "cuda/bin/compute-sanitizer", self.root / "elsewhere")
        self.assertEqual(self.run_one("sanitizer-races")["problem"], "no compute-sanitizer")
        (self.root / "cuda/compute-sanitizer").mkdir()
        shutil.move(self.root / "elsewhere", self.root / "cuda/compute-sanitizer/compute-sanitizer")
        self.assertEqual(self.run_one("sanitizer-races")["result"], "passed")

    def test_an_unknown_piece_is_wrong_use(self):
        self.assertEqual(self.run_pieces("tests", "bench-decode-disk"), (2, []))
        self.assertIn("unknown piece bench-decode-disk", self.said)


class Bundle(Scratch):
    """A build's folder, whose programs need one library."""

    def build(self, library):
        folder = self.root / "libraries"
        folder.mkdir()
        compile_c = ["gcc", "-x", "c", "-"]
        subprocess.run(
            [*compile_c, "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", folder / library],
            input="int Part(void) { return 0; }", text=True, check=True,
        )  # fmt: skip
        for program in PROGRAMS:
            (self.root / "build" / program).parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                [*compile_c, "-o", self.root / "build" / program, f"-L{folder}", f"-l:{library}", f"-Wl,-rpath,{folder}"],
                input="int Part(void); int main(void) { return Part(); }", text=True, check=True,
            )  # fmt: skip

    def bundle(self, **constants):
        script = self.write_script("tests/gpu.sh", **constants)
        (self.root / "tests/bench/gpu").mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / "tests/bench/gpu/full_attention.py", self.root / "tests/bench/gpu")
        return subprocess.run([script, "bundle", self.root / "build", self.root / "to"], capture_output=True, text=True)

    def test_takes_programs_and_libraries_and_itself(self):
        self.build("libpart.so.1")
        done = self.bundle()
        self.assertEqual(done.returncode, 0, done.stderr)
        taken = sorted(str(path.relative_to(self.root / "to")) for path in (self.root / "to").rglob("*") if path.is_file())
        names = [pathlib.Path(program).name for program in PROGRAMS]
        self.assertEqual(taken, sorted(["full_attention.py", "gpu.sh", "lib/libpart.so.1", *(f"bin/{name}" for name in names)]))
        listed = subprocess.run([self.root / "to/gpu.sh", "programs"], check=True, capture_output=True, text=True).stdout
        self.assertEqual(listed.split(), names)

    def test_leaves_what_is_there(self):
        self.build("libtorch_cpu.so")
        self.assertEqual(self.bundle().returncode, 0)
        self.assertEqual(list((self.root / "to/lib").iterdir()), [])

    def test_refuses_what_belongs_to_the_service(self):
        self.build("libgrpc.so.29")
        done = self.bundle()
        self.assertEqual(done.returncode, 1)
        self.assertIn("libgrpc.so.29 belongs to the service", done.stderr)

    def test_refuses_what_is_too_large(self):
        self.build("libpart.so.1")
        done = self.bundle(LIMIT_BYTES=20000)
        self.assertEqual(done.returncode, 1)
        self.assertIn("more than 20000 bytes", done.stderr)
        self.assertIn("LIMIT_BYTES=60000000\n", SCRIPT)

    def test_refuses_an_unfinished_build(self):
        done = self.bundle()
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{PROGRAMS[0]} is missing", done.stderr)


if __name__ == "__main__":
    unittest.main()
