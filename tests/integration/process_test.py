"""The server as a process: flags, ports, signals, exit codes."""

import json
import pathlib
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import grpc

from keyhole_process import MODEL, SERVER, ServerProcess
from reflected_client import ReflectedClient

ENDLESS = {"request": {"text": "Go on", "stopping": {"max_output_tokens": 4000, "ignore_eos": True}}}


class ProcessTest(unittest.TestCase):
    def start(self, *flags, **options):
        server = ServerProcess(*flags, **options)
        self.addCleanup(server.stop)
        return server

    def connect(self, server):
        client = ReflectedClient(server.address)
        self.addCleanup(client.close)
        return client

    def stream_in_background(self, client):
        """Returns (thread, messages, errors) once the first message is there."""
        messages, errors = [], []
        started = threading.Event()

        def read():
            try:
                for message in client.StreamGenerate(ENDLESS):
                    messages.append(message)
                    started.set()
            except grpc.RpcError as error:
                errors.append(error)
                started.set()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        self.assertTrue(started.wait(60))
        return thread, messages, errors


class SignalTest(ProcessTest):
    def test_sigterm_while_idle(self):
        server = self.start().wait_ready()
        start = time.monotonic()
        server.signal(signal.SIGTERM)
        self.assertEqual(server.wait_exit(), 0)
        self.assertLess(time.monotonic() - start, 20)
        server.wait_for_event("drained", 1)

    def test_sigterm_while_the_model_loads(self):
        server = self.start("--weights", "f32").wait_listening()
        server.signal(signal.SIGTERM)
        self.assertEqual(server.wait_exit(), 0)

    def test_sigterm_under_load_refuses_and_ends_as_drained(self):
        server = self.start("--drain-timeout", "2").wait_ready()
        client = self.connect(server)
        thread, messages, errors = self.stream_in_background(client)
        server.signal(signal.SIGTERM)
        server.wait_for_event("draining", 5)
        with self.assertRaises(grpc.RpcError) as refused:
            client.GetModel()
        self.assertEqual(refused.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(client.reason(refused.exception), "DRAINING")
        thread.join(30)
        self.assertEqual(errors, [])
        finished = messages[-1].finished
        reasons = type(finished).DESCRIPTOR.fields_by_name["finish_reason"].enum_type.values_by_number
        self.assertEqual(reasons[finished.finish_reason].name, "FINISH_REASON_DRAINED")
        self.assertEqual(server.wait_exit(), 0)

    def test_second_signal_leaves_at_once(self):
        server = self.start("--drain-timeout", "60").wait_ready()
        client = self.connect(server)
        thread, _, errors = self.stream_in_background(client)
        server.signal(signal.SIGTERM)
        server.wait_for_event("draining", 5)
        start = time.monotonic()
        server.signal(signal.SIGINT)
        self.assertEqual(server.wait_exit(10), 128 + signal.SIGINT)
        self.assertLess(time.monotonic() - start, 30, "far less than the drain would take")
        thread.join(10)
        self.assertEqual(errors[0].code(), grpc.StatusCode.UNAVAILABLE)

    def test_sigkill_leaves_the_port_free(self):
        server = self.start().wait_ready()
        client = self.connect(server)
        thread, _, errors = self.stream_in_background(client)
        server.signal(signal.SIGKILL)
        thread.join(10)
        self.assertEqual(errors[0].code(), grpc.StatusCode.UNAVAILABLE)
        again = self.start("--listen", server.address).wait_ready()
        self.assertEqual(again.address, server.address)


class StartTest(ProcessTest):
    def test_wrong_flags_are_one_line_and_code_two(self):
        for flags in ([], ["--model"], ["--model", "m", "--nonsense"], ["--model", "m", "--kv-type", "f16"]):
            done = subprocess.run([SERVER, *flags], capture_output=True, text=True, timeout=30, check=False)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_a_model_that_is_not_there(self):
        server = self.start(model="no/such/file.gguf")
        self.assertEqual(server.wait_exit(), 1)
        server.wait_for_event("cannot_load_model", 1)

    def test_a_port_that_is_taken(self):
        first = self.start().wait_listening()
        second = self.start("--listen", first.address)
        self.assertEqual(second.wait_exit(), 1)
        self.assertIn("is the port taken?", second.wait_for_event("cannot_start", 1)["cause"])

    def test_config_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "server.conf"
            path.write_text(f'model = "{MODEL}"\nmodel-name = from-file\nmax-context = 1024\n')
            server = self.start("--config", path).wait_ready()
            model = self.connect(server).GetModel()
        self.assertEqual(model.name, "from-file")
        self.assertEqual(model.limits.max_context_tokens, 1024)

    def test_trace_of_the_first_steps(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "trace.json"
            server = self.start("--trace-file", path, "--trace-steps", "3").wait_ready()
            request = {"text": "Go on", "stopping": {"max_output_tokens": 8, "ignore_eos": True}}
            self.connect(server).Generate(request)
            spans = json.loads(path.read_text())
        names = [span["name"] for span in spans]
        self.assertEqual(names.count("step"), 3)
        self.assertEqual(names.count("layer"), 3 * 30)
        for name in ("qkv", "select", "append", "attend", "o", "gate_up", "down"):
            self.assertEqual(names.count(name), names.count("layer"), name)

    def test_reflection_can_be_switched_off(self):
        server = self.start("--reflection", "off").wait_listening()
        with self.assertRaises(grpc.RpcError) as caught:
            ReflectedClient(server.address)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)


if __name__ == "__main__":
    unittest.main()
