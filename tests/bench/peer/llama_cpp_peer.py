"""One figure of llama.cpp's speed or memory, for tests/bench/compare.py: one JSON line, with the setting that gave it.

The past of a long sequence is the rows of a block that was really read, over and over, loaded as a saved sequence. Times
are those of the faster of two settings, without and with flash attention.
"""

import argparse
import contextlib
import ctypes
import json
import pathlib
import statistics
import time

import numpy as np

BLOCK = 512  # tokens that are really read and then repeated
RUN_SECONDS = 0.25  # a run of decode takes at least this long, or one step
MOST_STEPS = 64  # of a run of decode
SLOWER = 1.1  # a setting whose first run is slower by this factor is not measured further


def memory(name):
    """VmRSS or VmHWM of this process, in bytes."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {name}")


INTERPRETER = memory("VmRSS")  # not llama.cpp's

import llama_cpp.llama_cpp as llama  # noqa: E402


@llama.llama_log_callback
def show_errors(level, text, _):
    if level == 4:
        print(text.decode(errors="replace"), end="", flush=True)


class Reader:
    """Walks over a saved sequence."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        self.at += int(size)
        if self.at > len(self.data):
            raise RuntimeError("a saved sequence ends early")
        return self.data[self.at - int(size) : self.at]

    def number(self, kind):
        return int(self.take(np.dtype(kind).itemsize).view(kind)[0])


def repeat_cells(reader, n_cells, times):
    """A cell is its position, the number of sequences saved (one), what some models add, and the sequence."""
    words = reader.data[reader.at :]
    for width in (3, 5, 6):
        cells = words[: 4 * width * n_cells].view("i4").reshape(n_cells, width)
        if (cells[:, 0] == np.arange(n_cells)).all() and (cells[:, 1] == 1).all():
            reader.take(4 * width * n_cells)
            cells = np.tile(cells, (times, 1))
            cells[:, 0] = np.arange(len(cells))
            return cells.reshape(-1).view(np.uint8)
    raise RuntimeError("a saved sequence has an unknown layout")


def repeat_state(state, times):
    """The saved sequence with its tokens `times` times over, at growing positions.

    Its layout is that of the pinned release: a mark and the sequence's number; streams, of which one holds the sequence; its
    cells; K of every layer, one row a cell; V of every layer, one row a cell or, transposed, one a dimension.
    """
    reader, pieces = Reader(state), []

    def keep(size, repeats=1):
        pieces.append((reader.take(size), repeats))

    def put(number, kind):
        pieces.append((np.array([number], kind).view(np.uint8), 1))

    keep(8)
    n_streams = reader.number("u4")
    put(n_streams, "u4")
    for _ in range(n_streams):
        n_cells = reader.number("u4")
        put(n_cells * times, "u4")
        if n_cells == 0:
            continue
        pieces.append((repeat_cells(reader, n_cells, times), 1))
        transposed, n_layers = reader.number("u4"), reader.number("u4")
        put(transposed, "u4")
        put(n_layers, "u4")
        for is_value in (False, True):
            for _ in range(n_layers):
                keep(4)  # type
                if is_value and transposed:
                    element, rows = reader.number("u4"), reader.number("u4")
                    put(element, "u4")
                    put(rows, "u4")
                    for _ in range(rows):
                        keep(element * n_cells, times)
                else:
                    row = reader.number("u8")
                    put(row, "u8")
                    keep(row * n_cells, times)
    if reader.at != len(state):
        raise RuntimeError("a saved sequence goes on")
    out = np.empty(sum(len(piece) * repeats for piece, repeats in pieces), np.uint8)
    at = 0
    for piece, repeats in pieces:
        end = at + len(piece) * repeats
        out[at:end].reshape(repeats, len(piece))[:] = piece
        at = end
    return out


class Context:
    """A context with some sequences of equal length."""

    def __init__(self, model, arguments, room, flash, n_sequences=1):
        self.chunk, self.n_sequences = arguments.chunk_size, n_sequences
        params = llama.llama_context_default_params()
        params.n_ctx = n_sequences * (-(-room // 256) * 256)
        params.n_batch = params.n_ubatch = self.chunk
        params.n_seq_max = n_sequences
        params.n_threads = params.n_threads_batch = arguments.threads
        params.flash_attn_type = 1 if flash else 0
        params.kv_unified = False
        self.context = llama.llama_init_from_model(model, params)
        if not self.context:
            raise MemoryError(f"no context of {params.n_ctx} tokens")
        self.memory = llama.llama_get_memory(self.context)
        self.n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
        self.batch = llama.llama_batch_init(self.chunk, 0, 1)
        self.length = 0

    def close(self):
        llama.llama_batch_free(self.batch)
        llama.llama_free(self.context)

    def compute(self, items):
        """(position, sequence, with logits) of every token."""
        self.batch.n_tokens = len(items)
        for i, (position, sequence, logits) in enumerate(items):
            self.batch.token[i] = (position * 7919 + 13) % self.n_vocab
            self.batch.pos[i] = position
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = sequence
            self.batch.logits[i] = logits
        if llama.llama_decode(self.context, self.batch) != 0:
            raise RuntimeError("llama_decode failed")
        llama.llama_synchronize(self.context)

    def read(self, n_tokens):
        """Appends to sequence 0."""
        end = self.length + n_tokens
        for first in range(self.length, end, self.chunk):
            last = min(first + self.chunk, end)
            self.compute([(i, 0, i == end - 1) for i in range(first, last)])
        self.length = end

    def step(self):
        """Appends one token to every sequence."""
        self.compute([(self.length, sequence, True) for sequence in range(self.n_sequences)])
        self.length += 1

    def truncate(self, length):
        llama.llama_memory_seq_rm(self.memory, -1, length, -1)
        self.length = length

    def fill(self, length):
        """Every sequence is `length` tokens long, in memory of its own."""
        if length == 0:
            return
        block = min(BLOCK, length)
        if length % block != 0:
            raise ValueError(f"a length is a multiple of {BLOCK}")
        self.read(block)
        state = np.empty(llama.llama_state_seq_get_size(self.context, 0), np.uint8)
        pointer = ctypes.POINTER(ctypes.c_uint8)
        size = llama.llama_state_seq_get_data(self.context, state.ctypes.data_as(pointer), len(state), 0)
        state = repeat_state(state[:size], length // block)
        for sequence in range(self.n_sequences):
            llama.llama_state_seq_set_data(self.context, state.ctypes.data_as(pointer), len(state), sequence)
            if llama.llama_memory_seq_pos_max(self.memory, sequence) != length - 1:
                raise RuntimeError("llama.cpp did not take a sequence of repeated rows")
        self.length = length


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        llama.llama_log_set(show_errors, None)
        llama.llama_backend_init()
        path = arguments.model
        if arguments.requantised:
            requantise(path, arguments.requantised, arguments.threads)
            path = arguments.requantised
        self.model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {path}")

    @contextlib.contextmanager
    def context(self, room, flash, n_sequences=1):
        context = Context(self.model, self.arguments, room, flash, n_sequences)
        try:
            yield context
        finally:
            context.close()

    def best(self, measure):
        """Median seconds and setting: measure(flash) is a generator of one run after another."""

        def seconds(flash, enough):
            runs = []
            for run in measure(flash):
                runs.append(run)
                if len(runs) == self.arguments.repeats or run > enough:
                    break
            return statistics.median(runs)

        without = seconds(False, float("inf"))
        flash = seconds(True, SLOWER * without)
        return min((without, "flash attention off"), (flash, "flash attention on"))

    def decode_runs(self, flash, n_sequences=1):
        """Seconds of a step."""
        room = self.arguments.depth + 2 + self.arguments.repeats * MOST_STEPS
        with self.context(room, flash, n_sequences) as context:
            context.fill(self.arguments.depth)
            context.step()
            once = seconds_of(context.step)
            n_steps = int(min(max(RUN_SECONDS / once, 1), MOST_STEPS))
            while True:
                yield seconds_of(lambda: [context.step() for _ in range(n_steps)]) / n_steps

    def prefill_runs(self, flash, depth=None):
        depth = self.arguments.depth if depth is None else depth
        chunk = self.arguments.chunk_size
        with self.context(depth + chunk, flash) as context:
            context.fill(depth)
            # Touches what a step uses; a whole chunk takes minutes at great depths.
            context.read(chunk if depth <= 8192 else 1)
            while True:
                context.truncate(depth)
                yield seconds_of(lambda: context.read(chunk))

    def decode(self):
        seconds, setting = self.best(self.decode_runs)
        return seconds * 1e3, setting

    def batch(self):
        n = self.arguments.sequences
        seconds, setting = self.best(lambda flash: self.decode_runs(flash, n))
        return n / seconds, setting

    def prefill(self):
        seconds, setting = self.best(self.prefill_runs)
        return seconds * 1e3, setting

    def ttft(self):
        """Of one run, with the setting that reads a chunk in the middle of the prompt faster."""
        depth, chunk = self.arguments.depth, self.arguments.chunk_size
        middle = depth // 2 // chunk * chunk
        first = [next(self.prefill_runs(flash, middle)) for flash in (False, True)]
        flash = first[1] < first[0]
        with self.context(depth, flash) as context:
            return seconds_of(lambda: context.read(depth)), "flash attention " + ("on" if flash else "off")

    def memory(self):
        """At its peak, while it reads a prompt's last chunk and then decodes, less what Python takes."""
        depth, chunk = self.arguments.depth, self.arguments.chunk_size
        with self.context(depth + 4, flash=True) as context:
            context.fill(depth - chunk)
            pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak of filling does not count
            context.read(chunk)
            for _ in range(4):
                context.step()
            return (memory("VmHWM") - INTERPRETER) * 1e-6, "flash attention on, f16 KV"


def seconds_of(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def requantise(source, target, threads):
    """To Q4_0, for which llama.cpp has its fastest products."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    params = llama.llama_model_quantize_default_params()
    params.nthread = threads
    params.ftype = llama.LLAMA_FTYPE_MOSTLY_Q4_0
    params.allow_requantize = True
    scratch = target.with_name(target.name + ".new")
    if llama.llama_model_quantize(str(source).encode(), str(scratch).encode(), ctypes.byref(params)) != 0:
        raise RuntimeError(f"llama.cpp cannot requantise {source}")
    scratch.rename(target)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--case", required=True, choices=("decode", "prefill", "batch", "ttft", "memory"))
    parser.add_argument("--depth", type=int, default=0, help="tokens before the step, or of the whole prompt")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--chunk-size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5, help="runs, of which the median is told")
    parser.add_argument("--sequences", type=int, default=8, help="of case batch")
    parser.add_argument("--requantised", type=pathlib.Path, help="use this file, made from the model as Q4_0")
    arguments = parser.parse_args()
    value, setting = getattr(Bench(arguments), arguments.case)()
    print(json.dumps({"case": arguments.case, "depth": arguments.depth, "value": value, "setting": setting}))


if __name__ == "__main__":
    main()
