"""What llama.cpp makes of the golden prompts: its logits along the reference's greedy continuations.

    python make_llama_cpp_goldens.py MODEL.gguf --full-logits FULL.npy

Needs numpy and llama-cpp-python; FULL.npy comes from make_model_goldens.py. Prints agreement with the reference, and
keeps the 20 best tokens of each step for the report of tests/integration/model_golden_test.
"""
import argparse
import json
import pathlib

import llama_cpp
import numpy as np

import tensor_file

DATA = pathlib.Path(__file__).parent / "data"
N_TOP = 20


def log_softmax(logits):
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def kl(p_logits, q_logits):
    """KL(p || q) of each row."""
    p, q = log_softmax(p_logits), log_softmax(q_logits)
    return (np.exp(p) * (p - q)).sum(-1)


def run(model, prompt, greedy):
    """Logits [len(greedy), vocabulary]: row t follows the prompt and greedy[:t]."""
    model.reset()
    rows = []
    for piece in [prompt] + [[token] for token in greedy[:-1]]:
        model.eval(piece)
        pointer = model._ctx.get_logits_ith(-1)
        rows.append(np.ctypeslib.as_array(pointer, shape=(model.n_vocab(),)).copy())
    return np.stack(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--full-logits", required=True)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    golden = tensor_file.read(DATA / "smollm2_135m_q4_1.safetensors")
    full = np.load(arguments.full_logits, mmap_mode="r")
    model = llama_cpp.Llama(
        arguments.model, n_ctx=4096, n_batch=512, n_threads=arguments.threads,
        n_threads_batch=arguments.threads, n_gpu_layers=0, verbose=False,
    )
    tensors, agree, divergences = {}, [], []
    for i in range(len(full)):
        greedy = golden[f"{i}.greedy"]
        logits = run(model, golden[f"{i}.prompt"].tolist(), greedy.tolist())
        best = np.argsort(-logits, -1, kind="stable")[:, :N_TOP]
        tensors[f"{i}.top_ids"] = best.astype(np.int32)
        log_p = np.take_along_axis(log_softmax(logits), best, -1)
        tensors[f"{i}.top_log_probs"] = log_p.astype(np.float32)
        agree.append(best[:, 0] == greedy)
        divergences.append(kl(full[i], logits))
        print(f"prompt {i}: agreement {agree[-1].mean():.3f}, KL {divergences[-1].mean():.2e}", flush=True)
    tensor_file.write(DATA / "smollm2_135m_q4_1.llama_cpp.safetensors", tensors)
    divergences = np.concatenate(divergences)
    report = {
        "llama_cpp_python": llama_cpp.__version__,
        "steps": int(divergences.size),
        "top1_agreement_with_reference": round(float(np.concatenate(agree).mean()), 5),
        "mean_kl_from_reference": round(float(divergences.mean()), 6),
        "p99_kl_from_reference": round(float(np.quantile(divergences, 0.99)), 6),
        "max_kl_from_reference": round(float(divergences.max()), 6),
    }
    (DATA / "llama_cpp_report.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
