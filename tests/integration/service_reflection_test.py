"""Every call of the API on a real server with the default model, by a client made from reflection alone."""

import concurrent.futures
import subprocess
import time
import unittest

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from keyhole_process import ServerProcess
from reflected_client import SERVICE, ReflectedClient

CANARY = "zanzibar-canary-4711"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def setUpModule():
    global server, client
    server = ServerProcess("--max-context", "2048", "--model-name", "smol").wait_ready()
    client = ReflectedClient(server.address)


def tearDownModule():
    client.close()
    server.stop()


def greedy(text, tokens=16, **fields):
    return {"text": text, "stopping": {"max_output_tokens": tokens}, **fields}


class EveryCallTest(unittest.TestCase):
    def test_reflection_lists_the_services(self):
        self.assertIn(SERVICE, client.services)
        self.assertIn("grpc.health.v1.Health", client.services)
        self.assertEqual(
            sorted(client.methods),
            ["Chat", "CountTokens", "Detokenize", "Generate", "GetModel", "StreamChat", "StreamGenerate", "Tokenize"],
        )

    def test_model(self):
        model = client.GetModel()
        self.assertEqual(model.name, "smol")
        self.assertEqual(model.architecture, "llama")
        self.assertEqual(model.vocabulary_size, 49152)
        self.assertEqual(model.limits.max_context_tokens, 2048)
        self.assertEqual(model.trained_context_tokens, 8192)
        self.assertTrue(model.has_chat_template)
        self.assertEqual(len(model.revision), 64)

    def test_generate_and_stream_agree(self):
        whole = client.Generate(greedy("The capital of France is"))
        messages = list(client.StreamGenerate({"request": greedy("The capital of France is")}))
        self.assertEqual(messages[0].WhichOneof("event"), "started")
        self.assertEqual(messages[-1].WhichOneof("event"), "finished")
        text = "".join(message.chunk.text for message in messages)
        self.assertEqual(text, whole.output.text)
        self.assertIn("Paris", text)
        self.assertEqual(whole.finished.usage.output_token_count, 16)

    def test_chat_and_its_stream_agree(self):
        messages = [{"role": "user", "content": "What is 2 + 2? Answer with one number."}]
        fields = {"messages": messages, "stopping": {"max_output_tokens": 24}}
        whole = client.Chat(fields)
        self.assertEqual(whole.message.role, "assistant")
        self.assertTrue(whole.message.content)
        streamed = list(client.StreamChat({"request": fields}))
        self.assertEqual("".join(message.chunk.text for message in streamed), whole.message.content)

    def test_tokens_there_and_back(self):
        text = "Grüße, 世界! 🎉  two  spaces"
        ids = client.Tokenize({"text": text}).token_ids
        self.assertGreater(len(ids), 5)
        self.assertEqual(client.Detokenize({"token_ids": ids}).text, text)
        self.assertEqual(client.CountTokens({"text": text}).token_count, len(ids))
        chat = {"messages": [{"role": "user", "content": text}]}
        self.assertGreater(client.CountTokens({"conversation": chat}).token_count, len(ids))

    def test_logprobs_of_output_and_prompt(self):
        output = {
            "return_token_ids": True,
            "top_logprob_count": 3,
            "prompt_logprobs": {"first": 1, "count": 3},
        }
        answer = client.Generate(greedy("One two three four five", 4, output=output)).output
        self.assertEqual(len(answer.token_ids), 4)
        self.assertEqual([info.chosen.token_id for info in answer.logprobs], list(answer.token_ids))
        for info in answer.logprobs:
            self.assertEqual(len(info.top), 3)
            self.assertEqual(info.top[0].token_id, info.chosen.token_id, "greedy takes the best")
        self.assertEqual(len(answer.prompt_logprobs), 3)

    def test_same_seed_same_answer(self):
        fields = greedy("Once upon a time", 20, sampling={"temperature": 1.0, "seed": 5})
        self.assertEqual(client.Generate(fields).output.text, client.Generate(fields).output.text)

    def test_stop_string_across_tokens(self):
        free = client.Generate(greedy("The capital of France is", 20)).output.text
        stop = free[5:12]
        fields = {"text": "The capital of France is", "stopping": {"max_output_tokens": 20, "stop": [stop]}}
        answer = client.Generate(fields)
        self.assertEqual(answer.finished.matched_stop, stop)
        self.assertEqual(answer.output.text, free[: free.index(stop)])


class ErrorTest(unittest.TestCase):
    def assert_fails(self, call, code, reason):
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        details = client.details(caught.exception)
        self.assertEqual(details["ErrorInfo"].reason, reason)
        self.assertEqual(details["ErrorInfo"].domain, "keyhole.dev")
        return details

    def test_fields_are_named(self):
        details = self.assert_fails(
            lambda: client.Generate(greedy("x", sampling={"temperature": 3})),
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_PARAMETER",
        )
        self.assertEqual(details["BadRequest"].field_violations[0].field, "sampling.temperature")

    def test_prompt_too_long(self):
        details = self.assert_fails(
            lambda: client.Generate(greedy("word " * 5000)),
            grpc.StatusCode.INVALID_ARGUMENT,
            "PROMPT_TOO_LONG",
        )
        self.assertIn("prompt_tokens", details["ErrorInfo"].metadata)

    def test_unknown_model(self):
        self.assert_fails(lambda: client.GetModel({"model": "gpt"}), grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")

    def test_unknown_method(self):
        call = client.channel.unary_unary(f"/{SERVICE}/BatchGenerate")
        with self.assertRaises(grpc.RpcError) as caught:
            call(b"", timeout=10)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)


class BehaviourTest(unittest.TestCase):
    def test_two_clients_get_the_bytes_of_each_alone(self):
        prompts = ["The first rule of gardening is", "In a distant galaxy, a small robot"]
        output = {"return_token_ids": True, "return_logprobs": True}

        def ask(prompt):
            own = ReflectedClient(server.address)
            try:
                answer = own.Generate(greedy(prompt, 32, output=output)).output
                return answer.SerializeToString(deterministic=True)
            finally:
                own.close()

        alone = [ask(prompt) for prompt in prompts]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            together = list(pool.map(ask, prompts * 2))
        self.assertEqual(together, alone * 2)

    def test_cancel_frees_pages(self):
        fields = {"text": "Go on", "stopping": {"max_output_tokens": 1500, "ignore_eos": True}}
        stream = client.StreamGenerate({"request": fields})
        next(stream)
        self.assertGreater(server.metric('keyhole_kv_pages_used{tier="host"}'), 0)
        stream.cancel()
        deadline = time.monotonic() + 60
        while server.metric('keyhole_kv_pages_used{tier="host"}') > 0:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_health_watch(self):
        stub = health_pb2_grpc.HealthStub(client.channel)
        for service in ("", SERVICE):
            watch = stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=10)
            self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.SERVING)
            watch.cancel()

    def test_logs_and_metrics_hold_no_prompt(self):
        fields = greedy(CANARY, 4, client_request_id="log-test")
        client.Generate(fields, metadata=[("traceparent", TRACE)])
        with self.assertRaises(grpc.RpcError):
            client.Generate(greedy(CANARY, sampling={"top_p": 2}))
        deadline = time.monotonic() + 60
        while not any(line.get("client_request_id") == "log-test" for line in server.lines):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        line = next(line for line in server.lines if line.get("client_request_id") == "log-test")
        self.assertEqual(line["event"], "request")
        self.assertEqual(line["traceparent"], TRACE)
        self.assertEqual(line["output_tokens"], 4)
        self.assertNotIn(CANARY, "".join(server.raw))
        self.assertNotIn(CANARY, server.scrape())

    def test_every_log_line_is_json(self):
        self.assertEqual(len(server.raw), len(server.lines), "".join(server.raw))

    def test_metrics_pass_promtool(self):
        client.Generate(greedy("x", 2))
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=server.scrape(), text=True, capture_output=True, check=False
        )
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)


if __name__ == "__main__":
    unittest.main()
