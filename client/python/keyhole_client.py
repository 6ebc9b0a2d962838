"""A small client of a Keyhole server in Python, straight over the .proto.

    pip install grpcio grpcio-tools googleapis-common-protos
    python keyhole_client.py --prompt "The capital of France is"
    python keyhole_client.py --document report.txt --prompt "What does it recommend?"
"""
import argparse
import pathlib
import sys

import grpc

PROTO_ROOT = pathlib.Path(__file__).resolve().parents[2] / "proto"
sys.path.insert(0, str(PROTO_ROOT))
pb, services = grpc.protos_and_services("keyhole/v1/generation.proto")

# gRPC retries what no answer has begun for; the server refuses calls before it sends headers.
SERVICE_CONFIG = """{"methodConfig": [{"name": [{"service": "keyhole.v1.GenerationService"}], "retryPolicy": {
  "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
  "retryableStatusCodes": ["UNAVAILABLE"]}}]}"""


def connect(target):
    """A stub for the server at `target` ("host:port")."""
    channel = grpc.insecure_channel(target, options=[("grpc.service_config", SERVICE_CONFIG)])
    return services.GenerationServiceStub(channel)


def stream_chat(stub, prompt, document=None, max_output_tokens=None, timeout=None):
    """Yields the answer's text piece by piece; the last item is the Finished message."""
    content = f"{document}\n\n{prompt}" if document else prompt
    request = pb.ChatRequest(messages=[pb.ChatMessage(role="user", content=content)])
    if max_output_tokens is not None:
        request.stopping.max_output_tokens = max_output_tokens
    for event in stub.StreamChat(pb.StreamChatRequest(request=request), timeout=timeout):
        kind = event.WhichOneof("event")
        if kind == "chunk":
            yield event.chunk.text
        elif kind == "finished":
            yield event.finished


def main():
    parser = argparse.ArgumentParser(description="Ask a Keyhole server a question.")
    parser.add_argument("--server", default="127.0.0.1:8480")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--document", help="a text file that the prompt is about")
    parser.add_argument("--max-output-tokens", type=int)
    args = parser.parse_args()
    document = pathlib.Path(args.document).read_text(encoding="utf-8") if args.document else None
    try:
        for item in stream_chat(connect(args.server), args.prompt, document, args.max_output_tokens):
            if isinstance(item, str):
                print(item, end="", flush=True)
            else:
                usage = item.usage
                print(f"\n{usage.prompt_token_count} prompt tokens, {usage.output_token_count} output tokens",
                      file=sys.stderr)
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")


if __name__ == "__main__":
    main()
