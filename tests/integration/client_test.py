"""The command line client and the Python example against a real server: output, exit codes, Ctrl-C."""

import json
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from keyhole_process import REPO, ServerProcess

CLIENT = REPO / "build/cpu-release/client/keyhole"
EXAMPLE = REPO / "client/python/keyhole_client.py"
NOBODY = "127.0.0.1:1"
RUNNING = "keyhole_scheduler_running_requests"


class ClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = ServerProcess("--kv-memory", "256MiB", "--max-context", "8192").wait_ready()
        cls.addClassCleanup(cls.server.stop)

    def run_client(self, *arguments, text=None, address=None):
        command = [CLIENT, "--server", address or self.server.address, *arguments]
        return subprocess.run([str(part) for part in command], input=text, capture_output=True, text=True, timeout=120)

    def test_answer_on_stdout_and_timings_on_stderr(self):
        done = self.run_client("chat", "What is the capital of France?", "-n", "4")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.strip())
        self.assertRegex(done.stderr, r"prompt \d+ tokens in .* answer 4 tokens in .*; ended by max output tokens")

    def test_prompt_from_argument_file_and_stdin(self):
        prompt = "The capital of France is"
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(prompt)
            file.flush()
            answers = {
                self.run_client("generate", prompt, "-n", "6", "-q").stdout,
                self.run_client("generate", "--prompt-file", file.name, "-n", "6", "-q").stdout,
                self.run_client("generate", "-n", "6", "-q", text=prompt).stdout,
            }
        self.assertEqual(len(answers), 1)
        self.assertIn("Paris", answers.pop())

    def test_two_at_once_answer_as_each_alone(self):
        prompts = ["The capital of France is", "Once upon a time there was a"]
        alone = [self.run_client("generate", prompt, "-n", "48", "-q").stdout for prompt in prompts]
        command = [str(CLIENT), "--server", self.server.address, "generate", "-n", "48", "-q"]
        both = [subprocess.Popen([*command, prompt], stdout=subprocess.PIPE, text=True) for prompt in prompts]
        self.assertEqual([one.communicate(timeout=120)[0] for one in both], alone)

    def test_json_is_one_object_a_line(self):
        done = self.run_client("--json", "generate", "One two three", "-n", "4", "--logprobs", "2")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertIn("started", events[0])
        self.assertEqual(events[-1]["finished"]["finish_reason"], "FINISH_REASON_MAX_OUTPUT_TOKENS")
        tokens = [token for event in events for token in event.get("chunk", {}).get("logprobs", [])]
        self.assertEqual([len(token["top"]) for token in tokens], [2] * 4)

    def test_count_tokens_and_model(self):
        self.assertEqual(self.run_client("count-tokens", "The capital of France is").stdout, "5\n")
        model = json.loads(self.run_client("--json", "model").stdout)
        self.assertEqual(model["limits"]["max_context_tokens"], 8192)

    def test_health(self):
        done = self.run_client("health")
        self.assertEqual((done.returncode, done.stdout), (0, "SERVING\n"))
        done = self.run_client("health", address=NOBODY)
        self.assertEqual((done.returncode, done.stdout), (3, "UNREACHABLE\n"))

    def test_bench(self):
        flags = ("--requests", "4", "--concurrency", "2", "--prompt-tokens", "32", "--output-tokens", "8")
        result = json.loads(self.run_client("--json", "bench", *flags).stdout)
        self.assertEqual((result["requests"], result["failed"]), (4, 0))
        self.assertGreater(result["ttft_seconds"]["p50"], 0)
        self.assertGreater(result["tpot_seconds"]["p50"], 0)

    def test_exit_codes(self):
        long_text = "word " * 20_000
        for code, arguments, options in [
            (2, ("generate", "--no-such-flag"), {}),
            (2, ("generate", "--prompt-file", "/no/such/file"), {}),
            (2, ("generate", "--prompt-file", "/"), {}),
            (2, ("generate", "a", "--prompt-file", "b"), {}),
            (2, ("--token-file", "t", "generate", "a"), {}),
            (2, ("--key", "k", "generate", "a"), {}),
            (2, ("chat", "-d", "-"), {"text": "a document"}),
            (2, ("--server", "", "generate", "a"), {}),
            (3, ("generate", "a"), {"address": NOBODY}),
            (4, ("generate", "a", "--temperature", "9"), {}),
            (4, ("generate",), {"text": long_text}),
            (6, ("--timeout", "0.05", "generate", "a", "--ignore-eos", "-n", "4000"), {}),
        ]:
            with self.subTest(arguments=arguments):
                done = self.run_client(*arguments, **options)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertTrue(done.stderr.strip())

    def test_an_answer_that_cannot_be_written_is_no_success(self):
        for arguments in (("model",), ("generate", "a", "-n", "2"), ("--json", "generate", "a", "-n", "64")):
            with self.subTest(arguments=arguments), open("/dev/full", "w") as full:
                command = [CLIENT, "--server", self.server.address, *arguments]
                done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn("cannot write to standard output", done.stderr)

    def test_a_server_that_dies_is_told(self):
        server = ServerProcess("--kv-memory", "256MiB", "--max-context", "8192").wait_ready()
        self.addCleanup(server.stop)
        command = [str(CLIENT), "--server", server.address, "generate", "Go on", "--ignore-eos", "-n", "8000"]
        client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertTrue(client.stdout.read(1))
        server.signal(signal.SIGKILL)
        _, errors = client.communicate(timeout=30)
        self.assertEqual(client.returncode, 3, errors)
        self.assertIn("no connection to the server", errors)

    def test_ctrl_c_cancels_on_the_server(self):
        command = [str(CLIENT), "--server", self.server.address, "generate", "Go on", "--ignore-eos", "-n", "8000"]
        client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertTrue(client.stdout.read(1))
        client.send_signal(signal.SIGINT)
        client.communicate(timeout=30)
        self.assertEqual(client.returncode, 130)
        deadline = time.monotonic() + 30
        while self.server.metric(RUNNING) != 0:
            self.assertLess(time.monotonic(), deadline, "the request still runs")
            time.sleep(0.1)

    def test_python_example(self):
        command = [sys.executable, EXAMPLE, "--server", self.server.address, "--max-output-tokens", "12"]
        done = subprocess.run([*command, "--prompt", "Say hello."], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.strip())
        self.assertRegex(done.stderr, r"\d+ prompt tokens, \d+ output tokens")


if __name__ == "__main__":
    unittest.main()
