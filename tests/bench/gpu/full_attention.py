"""Time per output token of full attention at the shape of an 8B model: PyTorch's scaled_dot_product_attention over
keys and values in device memory, products in bf16, a step replayed as one CUDA graph. One JSON object a line."""

import argparse
import json
import time

import torch
from torch.nn import functional

HIDDEN, FFN, VOCAB, LAYERS = 4096, 14336, 128256, 32
HEADS, KV_HEADS, DIM = 32, 8, 128
CONTEXTS = (8192, 32768, 131072, 262144, 524288, 1 << 20)
RESERVE = 4 << 30


def matrix(rows, columns):
    return torch.randn(rows, columns, dtype=torch.bfloat16, device="cuda") / columns**0.5


class Model:
    def __init__(self):
        self.embedding = matrix(VOCAB, HIDDEN)
        self.output = matrix(VOCAB, HIDDEN)
        self.layers = [
            (
                matrix((HEADS + 2 * KV_HEADS) * DIM, HIDDEN),
                matrix(HIDDEN, HEADS * DIM),
                matrix(2 * FFN, HIDDEN),
                matrix(HIDDEN, FFN),
            )
            for _ in range(LAYERS)
        ]

    def step(self, tokens, keys, values):
        hidden = self.embedding[tokens]
        for layer, (qkv, o, gate_up, down) in enumerate(self.layers):
            rows = functional.linear(functional.rms_norm(hidden, (HIDDEN,)), qkv)
            q = rows[:, : HEADS * DIM].view(-1, HEADS, 1, DIM)
            k, v = rows[:, HEADS * DIM :].view(-1, 2, KV_HEADS, 1, DIM).unbind(1)
            keys[layer][:, :, -1:] = k
            values[layer][:, :, -1:] = v
            attended = functional.scaled_dot_product_attention(q, keys[layer], values[layer], enable_gqa=True)
            hidden = hidden + functional.linear(attended.view(-1, HEADS * DIM), o)
            gate, up = functional.linear(functional.rms_norm(hidden, (HIDDEN,)), gate_up).chunk(2, dim=1)
            hidden = hidden + functional.linear(functional.silu(gate) * up, down)
        return functional.linear(functional.rms_norm(hidden, (HIDDEN,)), self.output).argmax(1)


def measure(model, context, batch):
    tokens = torch.randint(VOCAB, (batch,), device="cuda")
    shape = (batch, KV_HEADS, context, DIM)
    keys = [torch.zeros(shape, dtype=torch.bfloat16, device="cuda") for _ in range(LAYERS)]
    values = [torch.zeros(shape, dtype=torch.bfloat16, device="cuda") for _ in range(LAYERS)]
    for _ in range(3):
        model.step(tokens, keys, values)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        model.step(tokens, keys, values)
    times = []
    for _ in range(25):
        begin = time.perf_counter()
        graph.replay()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) * 1000)
    return sorted(times[5:])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 4, 16])
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    model = Model()
    for context in CONTEXTS:
        for batch in options.batches:
            if context * batch > 1 << 20:
                continue
            result = {"bench": "full_attention", "gpu": torch.cuda.get_device_name(), "kv": "bf16"}
            result.update(context=context, batch=batch)
            rows = context * batch * LAYERS * 2 * KV_HEADS * DIM * 2
            torch.cuda.empty_cache()
            try:
                if rows > torch.cuda.mem_get_info()[0] - RESERVE:
                    raise torch.OutOfMemoryError
                times = measure(model, context, batch)
                median = times[len(times) // 2]
                result.update(tpot_ms=round(median, 3), tokens_s=round(1000 * batch / median, 1))
            except torch.OutOfMemoryError:
                result["problem"] = "keys and values do not fit"
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
