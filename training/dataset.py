"""Scenes with their latents in memory; captions are said anew every time."""
import pickle

import numpy as np
import torch

from .captions import caption
from .layout import layout_targets
from .tokenizer import Tokenizer

# Words that mean nothing here: a caption may contain them, the picture must not suffer.
NOISE_WORDS = "beautiful nice bright very cat dog house tree flower cartoon illustration hello best art digital".split()
HELD_BACK = 256  # pictures at the end, for validation


class LatentData:
    def __init__(self, latents, scenes, seed, drop=0.1):
        self.latents = np.load(latents)
        self.scale = float(open(latents + ".scale").read())
        self.scenes = [s for name in scenes for s in pickle.load(open(name, "rb"))]
        assert len(self.scenes) == len(self.latents)
        layout = [layout_targets(s) for s in self.scenes]
        self.color = np.stack([c for c, _ in layout]).reshape(-1, 64).astype(np.uint8)
        self.shape = np.stack([s for _, s in layout]).reshape(-1, 64).astype(np.uint8)
        self.rng, self.tokenizer, self.drop, self.order = np.random.default_rng(seed), Tokenizer(), drop, []
        self.count = len(self.scenes) - HELD_BACK

    def text(self, i, rng=None):
        rng = rng or self.rng
        words = caption(self.scenes[i], rng)
        if rng.random() < 0.02:
            words = words.split()
            words.insert(int(rng.integers(len(words) + 1)), NOISE_WORDS[rng.integers(len(NOISE_WORDS))])
            words = " ".join(words)
        return words

    def get(self, index, drop=0.0, rng=None):
        """-> latents (B, 4, 16, 16), token ids (B, 77), colour and shape classes (B, 64)."""
        rng = rng or self.rng
        ids = [self.tokenizer("" if rng.random() < drop else self.text(i, rng)) for i in index]
        arrays = (self.latents[index].astype(np.float32), self.color[index].astype(np.int64), self.shape[index].astype(np.int64))
        z, color, shape = (torch.from_numpy(a) for a in arrays)
        return z, torch.tensor(ids), color, shape

    def batch(self, size, drop=None):
        """The next pictures of a random order; with captions left out at the rate of the caption dropout."""
        if len(self.order) < size:
            self.order = list(self.rng.permutation(self.count))
        index, self.order = self.order[:size], self.order[size:]
        return self.get(index, self.drop if drop is None else drop)

    def validation(self, seed=9):
        return self.get(list(range(self.count, self.count + HELD_BACK)), rng=np.random.default_rng(seed))
