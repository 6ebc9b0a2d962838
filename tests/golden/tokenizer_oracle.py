"""Compares the engine's tokenizers with Hugging Face tokenizers and SentencePiece: ids and texts must be identical.

    tokenizer_oracle.py --encode-tool build/cpu-release/tests/tools/encode_tool --model model.gguf [--megabytes 1]

Vocabularies that no file at hand has are trained here, with the regular expressions of the real models. Needs the
Python packages tokenizers, sentencepiece and gguf. Exit status 1 and the first difference when anything differs.
"""

import argparse
import io
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

import gguf
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tokenizer_corpus import documents

LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
SUFFIXES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = SUFFIXES + "|" + LETTERS + r"|\p{N}{1,3}|" + TAIL
QWEN2 = SUFFIXES + "|" + LETTERS + r"|\p{N}|" + TAIL
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + r"+|[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER
    + r"*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)  # fmt: skip


def byte_level(use_regex):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def split_at(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level(False)])


PRE_TOKENIZERS = {
    "gpt2": byte_level(True),
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(True)]),
    "llama3": split_at(LLAMA3),
    "qwen2": split_at(QWEN2),
    "tekken": split_at(TEKKEN),
}


# ---- The oracles: functions from documents to lists of ids, and from ids to text.


class HuggingFace:
    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def encode(self, docs, parse_special):
        self.tokenizer.encode_special_tokens = not parse_special
        return [e.ids for e in self.tokenizer.encode_batch(docs, add_special_tokens=True)]

    def decode(self, ids):
        return self.tokenizer.decode_batch(ids, skip_special_tokens=True)


class SentencePiece:
    def __init__(self, model, bos):
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.first = [self.processor.bos_id()] if bos else []

    def encode(self, docs, parse_special):
        assert not parse_special
        return [self.first + ids for ids in self.processor.encode(docs)]

    def decode(self, ids):
        unknown = self.processor.unk_id()  # the engine hides it as it hides all special tokens
        return self.processor.decode([[i for i in one if i != unknown] for one in ids])


# ---- Models to compare on: (name, source for encode_tool, oracle, whether special tokens in text can be compared).


def gguf_model(path):
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[fields["tokenizer.ggml.pre"].contents()]
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, types) if kind == 3]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return "gguf", str(path), HuggingFace(tokenizer), True


def trained_byte_level(name, folder, sample):
    tokenizer = Tokenizer(models.BPE(ignore_merges=name == "llama3"))
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[name]
    tokenizer.decoder = decoders.ByteLevel()
    if name == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|im_start|>", "<|im_end|>", "<s>"]
    trainer = trainers.BpeTrainer(vocab_size=6000, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(sample, trainer)
    # Not both rstrip and tokens of spaces: there Hugging Face's ids repeat the spaces.
    rstrip = name == "gpt2"
    tokenizer.add_tokens([
        AddedToken("[INST]", lstrip=True, rstrip=rstrip, special=True, normalized=False),
        AddedToken("you", single_word=True, normalized=True),
        AddedToken("LL", single_word=True, normalized=False),
    ])  # fmt: skip
    if not rstrip:
        tokenizer.add_tokens([AddedToken(" " * n, normalized=False) for n in (4, 8, 16)])
    if name == "llama3":
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 2)])
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return name, str(folder), HuggingFace(tokenizer), True


def train_sentencepiece(sample, **options):
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for doc in sample for line in doc.split("\n") if line), model_writer=writer,
        model_type="bpe", vocab_size=6000, character_coverage=0.99, normalization_rule_name="identity",
        max_sentence_length=100_000, minloglevel=2, **options,
    )  # fmt: skip
    return writer.getvalue()


def spm_directory(name, folder, model):
    folder.mkdir()
    (folder / "tokenizer.model").write_bytes(model)
    return name, str(folder), SentencePiece(model, bos=True), False


def spm_pieces(model):
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    kinds = []
    for i in range(len(processor)):
        byte, control, unknown = processor.is_byte(i), processor.is_control(i), processor.is_unknown(i)
        kinds.append(6 if byte else 3 if control else 2 if unknown else 1)
    return [processor.id_to_piece(i) for i in range(len(processor))], [processor.get_score(i) for i in range(len(processor))], kinds


def spm_gguf(name, path, model, prefix):
    tokens, scores, kinds = spm_pieces(model)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_space_prefix(prefix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return name, str(path), SentencePiece(model, bos=True), False


def merges_of(tokens, scores, kinds):
    """All ways to join two pieces to a third, by the third's score, as a converter from SentencePiece makes them."""
    ids = {token: i for i, token in enumerate(tokens)}
    found = []
    for i, token in enumerate(tokens):
        if kinds[i] != 1:
            continue
        splits = [(token[:at], token[at:]) for at in range(1, len(token))]
        local = [s for s in splits if s[0] in ids and s[1] in ids]
        found += [(scores[i], split) for split in sorted(local, key=lambda s: (ids[s[0]], ids[s[1]]))]
    return [split for _, split in sorted(found, key=lambda f: -f[0])]


def metaspace_json(name, folder, model):
    tokens, scores, kinds = spm_pieces(model)
    bpe = models.BPE({t: i for i, t in enumerate(tokens)}, merges_of(tokens, scores, kinds), unk_token="<unk>",
                     fuse_unk=True, byte_fallback=True)  # fmt: skip
    tokenizer = Tokenizer(bpe)
    if name == "metaspace-normalizer":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        scheme = "first" if name == "metaspace-first" else "always"
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=name == "metaspace-split")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = [AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>", "[INST]")]
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return name, str(folder), HuggingFace(tokenizer), True


def all_models(args, folder):
    sample = documents(min(2.0, max(0.5, args.megabytes)))
    yield gguf_model(args.model)
    for name in PRE_TOKENIZERS:
        yield trained_byte_level(name, folder / name, sample)
    sample = documents(min(2.0, max(0.5, args.megabytes)), ["prose", "python", "c"])
    llama2 = dict(byte_fallback=True, remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True)
    model = train_sentencepiece(sample, **llama2)
    yield spm_directory("spm", folder / "spm", model)
    yield spm_gguf("spm-gguf", folder / "spm.gguf", model, True)
    yield spm_directory("spm-spaces", folder / "spm-spaces", train_sentencepiece(sample, remove_extra_whitespaces=True))
    no_prefix = train_sentencepiece(sample, add_dummy_prefix=False, **llama2)
    yield spm_gguf("spm-no-prefix", folder / "spm-no-prefix.gguf", no_prefix, False)
    for name in ("metaspace-normalizer", "metaspace-first", "metaspace-split"):
        yield metaspace_json(name, folder / name, model)


# ---- Comparison


def run_engine(tool, source, docs, parse_special):
    stdin = b"".join(struct.pack("<I", len(d)) + d for d in (doc.encode() for doc in docs))
    command = [tool, source, "--decode"] + (["--parse-special"] if parse_special else [])
    done = subprocess.run(command, input=stdin, capture_output=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.decode()}")
    ids, texts, at = [], [], 0
    for _ in docs:
        (n,) = struct.unpack_from("<I", done.stdout, at)
        if n == 0xFFFFFFFF:
            sys.exit(f"{source}: a document was refused")
        ids.append(list(struct.unpack_from(f"<{n}i", done.stdout, at + 4)))
        at += 4 + 4 * n
        (n,) = struct.unpack_from("<I", done.stdout, at)
        texts.append(done.stdout[at + 4 : at + 4 + n].decode())
        at += 4 + n
    return ids, texts, done.stderr.decode().strip()


def first_difference(ours, theirs):
    for i, (a, b) in enumerate(zip(ours, theirs)):
        if a != b:
            return i
    return min(len(ours), len(theirs))


def report(name, what, doc, ours, theirs):
    at = first_difference(ours, theirs)
    around = slice(max(0, at - 5), at + 8)
    print(f"{name}: {what} differ at {at}:\n  ours   {ours[around]!r}\n  oracle {theirs[around]!r}\n  document {doc[:60]!r}")


def compare(args, model, docs, parse_special):
    name, source, oracle, _ = model
    start = time.time()
    expected = oracle.encode(docs, parse_special)
    oracle_seconds = time.time() - start
    ids, texts, speed = run_engine(args.encode_tool, source, docs, parse_special)
    expected_texts = oracle.decode(expected)
    wrong = 0
    for doc, ours, theirs, text, expected_text in zip(docs, ids, expected, texts, expected_texts):
        if ours == theirs and text == expected_text:
            continue
        wrong += 1
        if wrong <= args.show:
            if ours != theirs:
                report(name, "ids", doc, ours, theirs)
            else:
                report(name, "texts", doc, text, expected_text)
    n_ids = sum(len(i) for i in ids)
    mode = "special tokens" if parse_special else "plain"
    print(f"{name:21} {mode:15} {len(docs)} documents, {n_ids} ids, {wrong} differ; engine {speed}; oracle {oracle_seconds:.2f} s", flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--encode-tool", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--megabytes", type=float, default=1.0)
    parser.add_argument("--show", type=int, default=3, help="differences to print for each model")
    parser.add_argument("--only", help="name of one model")
    args = parser.parse_args()
    docs = documents(args.megabytes)
    print(f"{sum(len(d.encode()) for d in docs) / 1e6:.2f} MB in {len(docs)} documents")
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for model in all_models(args, pathlib.Path(folder)):
            if args.only in (None, model[0]):
                wrong += compare(args, model, docs, False)
                wrong += compare(args, model, docs, True) if model[3] else 0
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
