"""compare.py over tiny sizes of our side, where its program is given, and against a made-up peer.

    python3 compare_test.py [PATH/speed_bench]
"""

import contextlib
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import compare

OURS = None  # the program
# Prints this whatever its flags are; they come as further arguments of sh.
MADE_UP = """sh -c 'echo progress; echo "{\\"value\\": 4.0, \\"setting\\": \\"made up\\"}"'"""
KEYS = {"name", "value", "unit", "peer", "ratio"}


def answer(**figure):
    return f"sh -c 'echo \"$1\"' - '{json.dumps(figure)}'"


class Compare(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.json = pathlib.Path(scratch.name, "lines.json")

    def compare(self, ours, *flags, peer=MADE_UP, model="synthetic:tiny"):
        """Exit status, lines by name, what it said."""
        command = [sys.executable, compare.__file__, "--ours", ours, "--peer", peer, "--model", model]
        result = subprocess.run([*command, "--json", self.json, *flags], capture_output=True, text=True)
        lines = [json.loads(line) for line in self.json.read_text().splitlines()] if self.json.exists() else []
        return result.returncode, {line["name"]: line for line in lines}, result.stdout + result.stderr

    def test_a_ratio_says_how_many_times_faster_we_are(self):
        status, lines, said = self.compare(answer(value=2), "--cases", "decode@32k,prefill@0")
        self.assertEqual(status, 0, said)
        self.assertEqual(list(lines), ["decode@32k", "prefill@0"])
        self.assertEqual(lines["decode@32k"]["ratio"], 2)
        self.assertEqual(lines["decode@32k"]["peer_setting"], "made up")
        self.assertEqual(lines["prefill@0"]["unit"], "ms/chunk")

    def test_memory_is_a_share_of_the_peers_and_a_batch_gains_over_our_own_single_sequence(self):
        status, lines, said = self.compare(answer(value=5, base=2), "--cases", "memory@128k,batch8@8k")
        self.assertEqual(status, 0, said)
        self.assertEqual(lines["memory@128k"]["ratio"], 1.25)
        self.assertEqual(lines["batch8@8k"]["ratio"], 2.5)

    def test_what_we_do_not_support_has_no_figures(self):
        ours = "sh -c 'echo of int8 >&2; exit 3'"
        status, lines, said = self.compare(ours, "--cases", "memory-int8@128k")
        self.assertEqual(status, compare.UNSUPPORTED)
        self.assertIn("memory-int8@128k: not supported", said)
        self.assertLessEqual(KEYS, set(lines["memory-int8@128k"]))
        self.assertIsNone(lines["memory-int8@128k"]["value"])
        self.assertIsNone(lines["memory-int8@128k"]["ratio"])

    def test_a_failure_leaves_the_other_cases_alone(self):
        peer = """sh -c 'case "$*" in *prefill*) exit 9;; esac; echo "{\\"value\\": 1, \\"setting\\": \\"\\"}"' -"""
        status, lines, said = self.compare(answer(value=2), "--cases", "prefill@0,decode@0", peer=peer)
        self.assertEqual(status, 1)
        self.assertEqual(list(lines), ["decode@0"])
        self.assertIn("prefill@0: ", said)
        self.assertIn("exit status 9", said)

    def test_names(self):
        self.assertEqual(len(compare.NAMES), 16)
        self.assertNotIn("ttft@32k", compare.chosen("default"))
        self.assertIn("ttft@32k", compare.chosen("all"))
        with contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(self.compare("true", "--cases", "decode@1")[0], 2)

    def test_flags_name_tokens(self):
        peer = "sh -c 'echo \"$@\" >&2; echo \"{\\\"value\\\": 1, \\\"setting\\\": \\\"\\\"}\"' -"
        said = self.compare(answer(value=1), "--cases", "batch8@8k", peer=peer)[2]
        self.assertIn("--case batch --sequences 8 --depth 8192 --threads 2 --chunk-size 512 --repeats 5", said)

    def test_every_case_of_ours_in_small(self):
        if OURS is None:
            self.skipTest("no program")
        ours = f"{OURS} --local 64"
        small = ("--k", "16", "--chunk-size", "64", "--repeats", "1")
        status, lines, said = self.compare(ours, "--cases", "all", *small)
        self.assertEqual(status, 0, said)
        self.assertEqual(list(lines), compare.NAMES)
        for name, line in lines.items():
            self.assertLessEqual(KEYS, set(line))
            self.assertGreater(line["value"], 0, name)
            self.assertGreater(line["ratio"], 0, name)
        self.assertIn("our decode@128k takes", said)


if __name__ == "__main__":
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        OURS = sys.argv.pop(1)
    unittest.main()
