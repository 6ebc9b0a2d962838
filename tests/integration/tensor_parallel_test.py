"""Ranks of one model as server processes: flags, signals, exit codes."""

import random
import signal
import socket
import unittest

from keyhole_process import ServerProcess
from reflected_client import ReflectedClient

REQUEST = {"text": "Go on", "stopping": {"max_output_tokens": 8, "ignore_eos": True}}


def free_port():
    """None of those that outgoing connections get."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class TensorParallelTest(unittest.TestCase):
    def setUp(self):
        address = f"127.0.0.1:{free_port()}"
        ranks = [self.start(rank, address) for rank in range(2)]
        self.root, self.worker = ranks
        self.root.wait_ready()

    def start(self, rank, address):
        server = ServerProcess(
            "--tensor-parallel-size", "2", "--tensor-parallel-rank", str(rank), "--tensor-parallel-address", address,
            "--tensor-parallel-timeout", "12", "--positions", "native", model="synthetic:tiny",
        )  # fmt: skip
        self.addCleanup(server.stop)
        return server

    def generate(self):
        client = ReflectedClient(self.root.address)
        self.addCleanup(client.close)
        return client.Generate(REQUEST)

    def test_the_worker_outlives_a_signal_and_goes_with_rank_0(self):
        self.worker.wait_for_event("engine_notice", text="tensor parallel: this rank is ready")
        self.worker.signal(signal.SIGTERM)
        self.worker.wait_for_event("draining")
        self.assertEqual(self.generate().finished.usage.output_token_count, 8)
        self.root.signal(signal.SIGTERM)
        self.assertEqual(self.root.wait_exit(60), 0)
        self.assertEqual(self.worker.wait_exit(60), 0)
        self.worker.wait_for_event("drained", 1)

    def test_rank_0_ends_when_the_worker_has_died(self):
        self.generate()
        self.worker.signal(signal.SIGKILL)
        self.assertEqual(self.root.wait_exit(60), 1)
        self.assertIn("tensor parallel", self.root.wait_for_event("engine_failed", 1)["cause"])


if __name__ == "__main__":
    unittest.main()
