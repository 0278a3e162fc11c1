"""CLIP's byte-pair encoding: reading a vocabulary, encoding text, and building the small vocabulary of this world.

``python -m training.tokenizer --out DIR`` builds a vocabulary in which every word of the captions is one token and any
other text falls back to bytes. The files in ``tokenizer/`` are the ones that the released weights were trained with.
"""
import argparse
import collections
import json
import pathlib
import re

import numpy as np

START, END = "<|startoftext|>", "<|endoftext|>"
PATTERN = re.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+")
FOLDER = pathlib.Path(__file__).parent / "tokenizer"
EXTRA_WORDS = """beautiful nice bright round small shape shapes color colour colored flying two three four five six one
many and with very gray grey golden gold silver dark light sun shining water river hill forest city house tree flower
sky background scene landscape cartoon illustration icon simple flat cute happy floating next to near between behind
front middle upper lower hello world test""".split()


def byte_symbols():
    """CLIP's printable stand-ins for the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in printable]
    return dict(zip(printable + hidden, map(chr, printable + [256 + i for i in range(len(hidden))])))


def merge(parts, pair):
    out, i = [], 0
    while i < len(parts):
        if tuple(parts[i : i + 2]) == pair:
            out.append(parts[i] + parts[i + 1])
            i += 2
        else:
            out.append(parts[i])
            i += 1
    return out


class Tokenizer:
    def __init__(self, folder=FOLDER, length=77):
        folder = pathlib.Path(folder)
        self.vocabulary = json.loads((folder / "vocab.json").read_text())
        lines = (folder / "merges.txt").read_text().split("\n")[1:]
        self.ranks = {tuple(line.split()): i for i, line in enumerate(lines) if line}
        self.symbols, self.length, self.cache = byte_symbols(), length, {}

    def word(self, word):
        """Token ids of one word."""
        if word not in self.cache:
            parts = [self.symbols[b] for b in word.encode()]
            parts[-1] += "</w>"
            while len(parts) > 1:
                pair = min(zip(parts, parts[1:]), key=lambda p: self.ranks.get(p, 1 << 30))
                if pair not in self.ranks:
                    break
                parts = merge(parts, pair)
            self.cache[word] = [self.vocabulary[p] for p in parts]
        return self.cache[word]

    def __call__(self, text):
        """Start token, the text, end token, padded with end tokens to the full length."""
        ids = [i for word in PATTERN.findall(text.lower()) for i in self.word(word)][: self.length - 2]
        ids = [self.vocabulary[START], *ids]
        return ids + [self.vocabulary[END]] * (self.length - len(ids))


def build(counts, folder):
    """Merges pairs, most frequent first, until every counted word is one token; writes vocab.json and merges.txt."""
    symbols = list(byte_symbols().values())
    words = {w: [*w[:-1], w[-1] + "</w>"] for w in counts}
    merges = []
    while True:
        pairs = collections.Counter()
        for word, parts in words.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = max(pairs, key=lambda p: (pairs[p], p))
        merges.append(best)
        words = {w: merge(p, best) for w, p in words.items()}
    tokens = symbols + [s + "</w>" for s in symbols] + [a + b for a, b in merges]
    tokens = [*dict.fromkeys(tokens), START, END]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    return len(tokens)


def main():
    from .captions import caption
    from .scene import sample

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    rng, counts = np.random.default_rng(args.seed), collections.Counter()
    for _ in range(30000):
        counts.update(PATTERN.findall(caption(sample(rng), rng)))
    counts.update({w: 3 for w in EXTRA_WORDS})
    print(build(counts, args.out), "tokens")


if __name__ == "__main__":
    main()
