"""Mixed text for comparing tokenizers: the same documents on every run on one machine."""

import pathlib
import random
import subprocess
import sysconfig
import unicodedata

DOCUMENT_CHARS = 20_000

# First and last code point of scripts with different rules for letters, marks, digits and case.
SCRIPTS = [
    (0x00A1, 0x024F), (0x0250, 0x02FF), (0x0300, 0x036F), (0x0370, 0x03FF), (0x0400, 0x052F),
    (0x0531, 0x058F), (0x0591, 0x05F4), (0x0600, 0x06FF), (0x0700, 0x074F), (0x0900, 0x097F),
    (0x0980, 0x09FF), (0x0B80, 0x0BFF), (0x0E01, 0x0E5B), (0x0F00, 0x0FFF), (0x1000, 0x109F),
    (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137F), (0x13A0, 0x13FF), (0x1780, 0x17FF),
    (0x1800, 0x18AF), (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x20CF),
    (0x2100, 0x218F), (0x2190, 0x23FF), (0x2460, 0x24FF), (0x2500, 0x27BF), (0x2C00, 0x2C5F),
    (0x3000, 0x303F), (0x3040, 0x30FF), (0x3100, 0x312F), (0x3200, 0x33FF), (0x4E00, 0x9FFF),
    (0xA000, 0xA4CF), (0xA640, 0xA69F), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFB00, 0xFDFF),
    (0xFE00, 0xFE6F), (0xFF00, 0xFFEF), (0x10000, 0x100FF), (0x10400, 0x1044F), (0x11000, 0x1107F),
    (0x12000, 0x123FF), (0x13000, 0x1342F), (0x1D400, 0x1D7FF), (0x1E900, 0x1E95F),
    (0x1F100, 0x1F1FF), (0x20000, 0x2A6DF),
]  # fmt: skip

EMOJI = ["😀", "🎉", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "❤️", "1️⃣", "🧑🏿‍🚀", "☃", "🫠", "\u200d", "\ufe0f"]
CONTRACTIONS = ["'s", "'S", "'t", "'re", "'RE", "'ve", "'m", "'ll", "'LL", "'d", "’s", "'ſ", "n't"]
CONTROLS = [chr(c) for c in range(32)] + ["\x7f", "\x85", "\u180e", "\u200b", "\ufeff", "\ufffd"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\v", "\f", "\u00a0", "\u2003", "\u3000", "\u2028"]
SPECIAL_LOOKALIKES = ["<|im_start|>", "<|im_end|", "<s>", "</s>", "<unk>", "<0x0A>", "▁", "Ġ", "[INST]"]


def assigned(first, last):
    return [chr(c) for c in range(first, last + 1) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]


def scripts(rng):
    alphabets = [assigned(*script) for script in SCRIPTS]
    while True:
        alphabet = rng.choice(alphabets)
        words = ("".join(rng.choices(alphabet, k=rng.randint(1, 12))) for _ in range(rng.randint(20, 200)))
        yield " ".join(words) + rng.choice(["", "\n", ". ", "!\n\n"])


def hostile_mix(rng):
    everything = [chr(c) for c in range(0x30000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    ascii_text = [chr(c) for c in range(32, 127)]
    while True:
        parts = []
        for _ in range(200):
            kind = rng.randrange(9)
            if kind == 0:
                parts.append(rng.choice(SPACES) * rng.choice([1, 1, 2, 3, 7, 40, 300]))
            elif kind == 1:
                parts.append("".join(rng.choices("0123456789", k=rng.choice([1, 2, 3, 4, 9, 50]))))
            elif kind == 2:
                parts.append(rng.choice(EMOJI) * rng.randint(1, 3))
            elif kind == 3:
                parts.append(rng.choice(["I", "you", "it", "WE", "über", "1", ""]) + rng.choice(CONTRACTIONS))
            elif kind == 4:
                parts.append("".join(rng.choices(CONTROLS, k=rng.randint(1, 4))))
            elif kind == 5:
                parts.append("".join(rng.choices(ascii_text, k=rng.randint(1, 30))))
            elif kind == 6:
                parts.append("".join(rng.choices(everything, k=rng.randint(1, 20))))
            elif kind == 7:
                parts.append(rng.choice(SPECIAL_LOOKALIKES))
            else:
                parts.append(rng.choice("aAzZ-=_.#*/\\") * rng.choice([1, 5, 33, 200]))
        yield "".join(parts)


def pieces_of(text):
    for start in range(0, len(text), DOCUMENT_CHARS):
        yield text[start : start + DOCUMENT_CHARS]


def prose():
    yield from pieces_of(subprocess.run(["bible", "gen1:1-rev22:21"], capture_output=True, text=True, check=True).stdout)


def files(root, pattern):
    for path in sorted(pathlib.Path(root).rglob(pattern)):
        yield from pieces_of(path.read_bytes().decode("utf-8", "replace"))


def sources():
    """Endless or long streams of documents, each with its share of the corpus."""
    rng = random.Random(20240607)
    return {
        "prose": (0.25, prose()),
        "python": (0.2, files(sysconfig.get_paths()["stdlib"], "*.py")),
        "c": (0.15, files("/usr/include", "*.h")),
        "scripts": (0.2, scripts(rng)),
        "hostile": (0.2, hostile_mix(rng)),
    }


def documents(megabytes, names=("prose", "python", "c", "scripts", "hostile")):
    out = []
    chosen = sources()
    for share, stream in (chosen[name] for name in names):
        left = share * megabytes * 1e6
        for document in stream:
            if left <= 0:
                break
            if document:
                out.append(document)
                left -= len(document.encode())
    return out
