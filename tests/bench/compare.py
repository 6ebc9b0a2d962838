"""Runs cases of ours and of a peer in turns, on the same file, and writes one JSON line a case: see README.md.

Each figure comes from a process of its own: --ours and --peer are commands that take the same flags and print one JSON line.
Exit status: 1 if a case failed, else 3 if something that a case asks of us is not supported.
"""

import argparse
import json
import os
import pathlib
import shlex
import subprocess
import sys

UNSUPPORTED = 3


def over(a, b):
    return a / b


# kind: flags of both sides, those of ours alone, unit, and the ratio of ours, the peer's and our own base.
KINDS = {
    "decode": ("--case decode", "", "ms/token", lambda ours, peer, base: peer / ours),
    "prefill": ("--case prefill", "", "ms/chunk", lambda ours, peer, base: peer / ours),
    "prefill-q4_0": ("--case prefill", "", "ms/chunk", lambda ours, peer, base: peer / ours),
    "ttft": ("--case ttft", "", "s", lambda ours, peer, base: peer / ours),
    "memory": ("--case memory", "", "MB", lambda ours, peer, base: ours / peer),
    "memory-int8": ("--case memory", "--kv int8", "MB", lambda ours, peer, base: ours / peer),
    "batch8": ("--case batch --sequences 8", "", "tokens/s", lambda ours, peer, base: ours / base),
}
DEPTHS = {
    "decode": ("0", "8k", "32k", "64k", "128k", "256k"),
    "prefill": ("0", "8k", "32k", "128k"),
    "prefill-q4_0": ("0",),
    "ttft": ("32k",),
    "memory": ("128k",),
    "memory-int8": ("128k",),
    "batch8": ("0", "8k"),
}
NAMES = [f"{kind}@{depth}" for kind, depths in DEPTHS.items() for depth in depths]
BY_REQUEST = ("ttft@32k",)  # the peer takes about 20 minutes


class Failure(Exception):
    def __init__(self, text, status):
        super().__init__(text)
        self.status = status


def chosen(text):
    """Names of cases, in the order in which they are asked for."""
    if text == "all":
        return NAMES
    if text == "default":
        return [name for name in NAMES if name not in BY_REQUEST]
    names = text.split(",")
    for name in names:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"no case {name}; there are: {', '.join(NAMES)}")
    return names


def run(command):
    """The last line that a command prints, as JSON."""
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        raise Failure(f"exit status {result.returncode}: {shlex.join(command)}", result.returncode)
    return json.loads(result.stdout.splitlines()[-1])


def flags(arguments, kind, depth):
    """Of both sides. A `k` is 1,024 tokens; in a check it is a few."""
    tokens = int(depth.removesuffix("k")) * (arguments.k if depth.endswith("k") else 1)
    return [
        *shlex.split(KINDS[kind][0]),
        *("--depth", str(tokens), "--threads", str(arguments.threads)),
        *("--chunk-size", str(arguments.chunk_size), "--repeats", str(arguments.repeats)),
    ]


def requantised(arguments):
    """Where the peer keeps its Q4_0 of exactly this file."""
    model = pathlib.Path(arguments.model)
    state = model.stat() if model.exists() else os.stat_result([0] * 10)
    name = f"{model.stem}.{state.st_size}-{int(state.st_mtime)}.Q4_0.gguf"
    return str(pathlib.Path(arguments.scratch, name))


def measure(arguments, name):
    """The case's line."""
    kind, depth = name.split("@")
    _, of_ours, unit, ratio = KINDS[kind]
    both = flags(arguments, kind, depth)
    line = {"name": name, "value": None, "unit": unit, "peer": None, "ratio": None}
    try:
        ours = run([*shlex.split(arguments.ours), *both, *shlex.split(of_ours), arguments.model])
    except Failure as failure:
        if failure.status != UNSUPPORTED:
            raise
        return {**line, "unsupported": of_ours or str(failure)}
    of_peer = ["--requantised", requantised(arguments)] if kind == "prefill-q4_0" else []
    peer = run([*shlex.split(arguments.peer), *both, *of_peer, arguments.model])
    line["value"], line["peer"] = rounded(ours["value"]), rounded(peer["value"])
    line["ratio"] = rounded(ratio(ours["value"], peer["value"], ours.get("base")))
    if "base" in ours:
        line["base"] = rounded(ours["base"])
    return {**line, "peer_setting": peer["setting"]}


def rounded(value):
    return float(f"{value:.4g}")


def measure_all(arguments):
    """Lines by name, and the exit status."""
    lines, status = {}, 0
    with open(arguments.json, "w") as out:
        for name in arguments.cases:
            try:
                line = lines[name] = measure(arguments, name)
            except (Failure, ValueError, KeyError, IndexError) as error:
                print(f"{name}: {error!r}", file=sys.stderr, flush=True)
                status = 1
                continue
            print(json.dumps(line), file=out, flush=True)
            print(json.dumps(line), flush=True)
            if "unsupported" in line:
                print(f"{name}: not supported: {line['unsupported']}", file=sys.stderr, flush=True)
                status = status or UNSUPPORTED
    return lines, status


def report_growth(lines):
    """Our own decode, deep against shallow."""
    deep, shallow = lines.get("decode@128k"), lines.get("decode@8k")
    if deep and shallow:
        print(f"our decode@128k takes {deep['value'] / shallow['value']:.2f} times our decode@8k")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", required=True, help="command that takes the flags of speed_bench")
    parser.add_argument("--peer", required=True, help="likewise")
    parser.add_argument("--model", required=True)
    parser.add_argument("--json", required=True)
    parser.add_argument("--cases", type=chosen, default="default", help="names with commas between, or all")
    parser.add_argument("--scratch", default=".", help="for files that are made from the model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--chunk-size", type=int, default=512)
    parser.add_argument("--k", type=int, default=1024)
    parser.add_argument("--dry-run", action="store_true", help="only look at the arguments")
    arguments = parser.parse_args()
    if arguments.dry_run:
        return 0
    lines, status = measure_all(arguments)
    report_growth(lines)
    return status


if __name__ == "__main__":
    sys.exit(main())
