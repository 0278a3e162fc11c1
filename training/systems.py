"""The paper's other systems on the same world: what each is conditioned by, and how a training example of it is made.

A system says which tokens its U-Net attends to (``context``, their width), how many channels are concatenated to the
latents (``extra``), which network makes either of them (``conditioner``), and draws inputs for the scenes of a batch.
"""
import numpy as np
import torch
import torch.nn.functional as F

from .labels import LABELS, label_map
from .models import BERTEmbedder, ClassEmbedder, SpatialRescaler
from .models.autoencoder import to_tensor
from .render import grid
from .scene import COLOR_NAMES, extent_box
from .shapes import SHAPES

CLASSES = [f"{color} {shape}" for color in COLOR_NAMES for shape in SHAPES]
WIDTH = 128  # of a token


def class_of(o):
    return COLOR_NAMES.index(o["color"]) * len(SHAPES) + SHAPES.index(o["shape"])


class System:
    """The base is the unconditional model: no input at all."""

    context, extra = None, 0

    def __init__(self, rng, vae=None):
        self.rng, self.vae, self.conditioner = rng, vae, None

    def usable(self, scene):
        return True

    def draw(self, scenes, images, drop=True):
        """Scenes and their pictures (B, 64, 64, 3) -> the tensor that ``condition`` takes. ``drop``: leave some inputs out."""
        return None

    def condition(self, inputs):
        """-> (context (B, T, width) or None, concat (B, extra, 16, 16) or None)"""
        return None, None


class ClassConditional(System):
    """A picture of one object, by its colour and shape; one input in ten is the class that stands for none."""

    context = WIDTH

    def __init__(self, rng, vae=None):
        super().__init__(rng, vae)
        self.conditioner = ClassEmbedder(len(CLASSES) + 1, WIDTH)

    def usable(self, scene):
        return len(scene["objs"]) == 1

    def draw(self, scenes, images, drop=True):
        ids = [class_of(s["objs"][0]) for s in scenes]
        return torch.tensor([len(CLASSES) if drop and self.rng.random() < 0.1 else i for i in ids])

    def condition(self, inputs):
        return self.conditioner(inputs), None


class Layout(System):
    """Boxes with classes as tokens (taming's ObjectsBoundingBoxConditionalBuilder): slots of three, then the crop."""

    context = WIDTH
    slots, sections, vocabulary = 4, 32, 32 * 32 + 32  # the last token, beyond all points, fills empty slots

    def __init__(self, rng, vae=None):
        super().__init__(rng, vae)
        self.conditioner = BERTEmbedder(self.vocabulary, 3 * self.slots + 2, WIDTH)

    def point(self, x, y):
        last = self.sections - 1
        return round(min(max(y, 0), 1) * last) * self.sections + round(min(max(x, 0), 1) * last)

    def tokens(self, objs):
        out = []
        for o in objs:
            x0, y0, x1, y1 = extent_box(o)
            out += [class_of(o), self.point(x0, y0), self.point(x1, y1)]
        out += [self.vocabulary - 1] * (3 * (self.slots - len(objs)))
        return out + [self.point(0, 0), self.point(1, 1)]

    def draw(self, scenes, images, drop=True):
        orders = [self.rng.permutation(len(s["objs"])) for s in scenes]
        return torch.tensor([self.tokens([s["objs"][i] for i in order]) for s, order in zip(scenes, orders)])

    def condition(self, inputs):
        return self.conditioner(inputs), None


class Semantic(System):
    """A label for every pixel, brought to the size of the latents and concatenated (SpatialRescaler)."""

    extra = 8

    def __init__(self, rng, vae=None):
        super().__init__(rng, vae)
        self.conditioner = SpatialRescaler(len(LABELS), self.extra)

    def draw(self, scenes, images, drop=True):
        return torch.from_numpy(np.stack([label_map(s) for s in scenes])).long()

    def condition(self, inputs):
        return None, self.conditioner(inputs)


class SuperResolution(System):
    """The picture at a quarter of its size, concatenated as it is. It was made smaller in one of several ways, blurred and
    disturbed a little, each at random (after BSR-light, appendix E.1 of the paper)."""

    extra = 3

    def draw(self, scenes, images, drop=True):
        x = to_tensor(images)
        blur = torch.tensor(self.rng.uniform(0, 0.5, (len(x), 1, 1, 1)), dtype=torch.float32)
        x = x + blur * (F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1) - x)
        ways = [F.interpolate(x, scale_factor=0.25, mode=m, antialias=True, align_corners=False) for m in ("bilinear", "bicubic")]
        ways = torch.stack([F.avg_pool2d(x, 4), F.avg_pool2d(x, 4), *ways])
        small = ways[torch.from_numpy(self.rng.integers(len(ways), size=len(x))), torch.arange(len(x))]
        noise = torch.tensor(self.rng.uniform(0, 0.03, (len(x), 1, 1, 1)), dtype=torch.float32)
        return (small + noise * torch.randn_like(small)).clamp(-1, 1)

    def condition(self, inputs):
        return None, inputs


class Inpainting(System):
    """The latents of the picture with a black hole, not scaled, and the mask as -1 and 1 (scripts/inpaint.py of the paper)."""

    extra = 5

    def mask(self, size=64):
        """(size, size), 1 in the hole: a rectangle, an ellipse, or one side of a line, at times two of them."""
        X, Y = grid(size)
        hole = np.zeros((size, size), bool)
        for _ in range(1 if self.rng.random() < 0.75 else 2):
            x, y, w, h, kind = *self.rng.uniform(0.1, 0.9, 2), *self.rng.uniform(0.1, 0.36, 2), self.rng.random()
            if kind < 0.6:
                hole |= (np.abs(X - x) < w) & (np.abs(Y - y) < h)
            elif kind < 0.85:
                hole |= ((X - x) / w) ** 2 + ((Y - y) / h) ** 2 < 1.3
            else:
                angle = self.rng.uniform(0, 2 * np.pi)
                hole |= (X - 0.5) * np.cos(angle) + (Y - 0.5) * np.sin(angle) > self.rng.uniform(0, 0.3)
        return hole

    def draw(self, scenes, images, drop=True):
        hole = torch.from_numpy(np.stack([self.mask() for _ in images]))[:, None]
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            code, _ = self.vae.encode(to_tensor(images).masked_fill(hole, -1.0))
        return torch.cat([code.float(), hole[..., ::4, ::4] * 2.0 - 1], 1)  # the nearest pixel is the upper left one

    def condition(self, inputs):
        return None, inputs


SYSTEMS = {
    "unconditional": System, "class": ClassConditional, "layout": Layout,
    "semantic": Semantic, "superres": SuperResolution, "inpaint": Inpainting,
}  # fmt: skip
