"""`keyhole eval` against a real server: table, JSON, drawing, dead servers, Ctrl-C."""

import json
import pathlib
import signal
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree

from keyhole_process import REPO, ServerProcess

CLIENT = REPO / "build/cpu-release/client/keyhole"
NOBODY = "127.0.0.1:1"
SVG = "{http://www.w3.org/2000/svg}"


class EvalTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = ServerProcess("--kv-memory", "256MiB", "--policy", "full").wait_ready()
        cls.addClassCleanup(cls.server.stop)
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.prose = cls.folder / "prose.txt"
        cls.prose.write_text("".join(f"In the year of the {i}th harvest it rained. Nobody minded. " for i in range(300)))

    def run_eval(self, *arguments, code=0):
        command = [CLIENT, "--server", self.server.address, "eval", *arguments]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=240)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def test_needles_in_table_json_and_drawing(self):
        out, plot = self.folder / "needles.json", self.folder / "needles.svg"
        done = self.run_eval(
            "needles", "--lengths", "600", "--questions", "4", "--generate", "--haystack", self.prose,
            "--servers", f"real={self.server.address},dead={NOBODY}", "--json", out, "--plot", plot, code=3,
        )  # fmt: skip
        self.assertRegex(done.stdout, r"needles, diverse\n.*exact.*\n *600 +real +\d/4 ")
        self.assertIn(NOBODY, done.stderr)
        self.assertIn("document 1 of 1", done.stderr)
        results = json.loads(out.read_text())
        self.assertEqual([server["name"] for server in results["runs"][0]["servers"]], ["real"])
        self.assertTrue(any("dead" in note for note in results["runs"][0]["notes"]))
        rows = results["rows"]
        self.assertEqual(len({row["id"] for row in rows}), 4)
        for row in rows:
            self.assertLess(row["prompt_tokens"], 600)
            self.assertGreater(row["prompt_tokens"], 560)
            self.assertLess(row["logprob"], 0)
            self.assertGreater(row["prefill_seconds"], 0)
            # The most likely token at each place is what greedy decoding writes.
            self.assertTrue(row["generated_exact"] or not row["exact"], row)
        # This model finds most facts in so short a text.
        self.assertGreaterEqual(results["table"][0]["exact"], 2)
        root = xml.etree.ElementTree.parse(plot).getroot()
        self.assertEqual(len(root.findall(f"{SVG}polyline")), 2)

    def test_perplexity_of_two_profiles(self):
        out = self.folder / "perplexity.json"
        flags = ("--lengths", "300", "--scored-tokens", "100", "--profile", "prose,default")
        done = self.run_eval("perplexity", *flags, "--haystack", self.prose, "--json", out)
        self.assertRegex(done.stdout, r"nats a token.*\n *300 +full, prose .*\n *300 +full ")
        prose, default = json.loads(out.read_text())["rows"]
        self.assertEqual((prose["answer_tokens"], default["answer_tokens"]), (100, 100))
        # Full attention has no far part that a profile could change.
        self.assertEqual(prose["logprob"], default["logprob"])

    def test_results_are_merged_by_report(self):
        parts = []
        for task in ("passkey", "retrieve-kv"):
            parts += ["--from", self.folder / f"{task}.json"]
            self.run_eval(task, "--lengths", "400", "--questions", "2", "--json", parts[-1])
        done = self.run_eval("report", *parts, "--plot", self.folder / "all.svg")
        self.assertRegex(done.stdout, r"(?s)passkey\n.*\n *400 .*retrieve-kv\n.*\n *400 ")
        out = self.folder / "all.json"
        self.run_eval("report", *parts, "--json", out)
        self.assertEqual([row["task"] for row in json.loads(out.read_text())["rows"]], ["passkey"] * 2 + ["retrieve-kv"] * 2)

    def test_chat(self):
        out = self.folder / "chat.json"
        self.run_eval("needles", "--chat", "--lengths", "500", "--questions", "1", "--json", out)
        (row,) = json.loads(out.read_text())["rows"]
        self.assertIsNone(row["exact"])
        self.assertTrue(row["generated"])
        self.assertLess(row["prompt_tokens"], 500)

    def test_too_long_for_the_server_is_left_out(self):
        done = self.run_eval("passkey", "--lengths", "400,100000", "--questions", "1")
        self.assertIn("100000 tokens left out: the server takes 8192", done.stderr)
        self.run_eval("passkey", "--lengths", "100000", "--questions", "1", code=4)

    def test_wrong_use(self):
        for arguments in (
            ("needles", "--questions", "99"),
            ("needles", "--facts", "none"),
            ("needles", "--haystack", "/no/such/file"),
            ("needles", "--servers", "nameless"),
            ("perplexity",),
            ("report", "--from", self.prose),
            ("passkey", "--lengths", "20"),
        ):
            with self.subTest(arguments=arguments):
                self.assertTrue(self.run_eval(*arguments, code=4 if "20" in arguments else 2).stderr.strip())

    def test_ctrl_c_keeps_what_was_found(self):
        command = [str(CLIENT), "--server", self.server.address, "eval", "passkey", "--lengths", "500,8000"]
        out = self.folder / "interrupted.json"
        command += ["--questions", "1", "--json", str(out)]
        client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while "8000 tokens" not in client.stderr.readline():
            self.assertIsNone(client.poll())
        client.send_signal(signal.SIGINT)
        stdout, _ = client.communicate(timeout=60)
        self.assertEqual(client.returncode, 130)
        self.assertRegex(stdout, r"\n *500 ")
        self.assertEqual([row["length"] for row in json.loads(out.read_text())["rows"]], [500])


if __name__ == "__main__":
    unittest.main()
