"""The paper's other systems on the same world: what each is conditioned by, and how a training example of it is made.

A system says which tokens its U-Net attends to (``context``, their width), how many channels are concatenated to the
latents (``extra``), which network makes either of them (``conditioner``), and draws inputs for the scenes of a batch.
"""
import numpy as np
import torch
import torch.nn.functional as F

from .captions import caption
from .diffusion import add_noise, alphas_cumprod
from .labels import LABELS, label_map
from .models import BERTEmbedder, ClassEmbedder, CLIPTextModel, SpatialRescaler
from .models.autoencoder import to_tensor
from .render import grid
from .scene import COLOR_NAMES, extent_box
from .shapes import SHAPES
from .tokenizer import Tokenizer

CLASSES = [f"{color} {shape}" for color in COLOR_NAMES for shape in SHAPES]
WIDTH = 128  # of a token
LOW_SCALE = (0.0001, 0.02)  # ends of the schedule of noise on small pictures


def class_of(o):
    return COLOR_NAMES.index(o["color"]) * len(SHAPES) + SHAPES.index(o["shape"])


class System:
    """The base is the unconditional model: no input at all."""

    context, extra, levels, scale = None, 0, 0, 1.0  # scale: factor of the latents, set before drawing

    def __init__(self, rng, vae=None):
        self.rng, self.vae, self.conditioner = rng, vae, None

    def usable(self, scene):
        return True

    def draw(self, scenes, images, drop=True):
        """Scenes and their pictures (B, 64, 64, 3) -> the tensors that ``condition`` takes. ``drop``: leave some inputs out."""
        return None

    def condition(self, inputs):
        """-> context (B, T, width), concat (B, extra, 16, 16), level (B,), each of them or None"""
        return None, None, None


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
        return self.conditioner(inputs), None, None


class Layout(System):
    """Boxes with classes as tokens (taming's ObjectsBoundingBoxConditionalBuilder): slots of three, then the crop."""

    context = WIDTH
    slots, sections, vocabulary = 4, 32, 32 * 32 + 32  # the last token, beyond all points, fills empty slots

    def __init__(self, rng, vae=None):
        super().__init__(rng, vae)
        self.conditioner = BERTEmbedder(self.vocabulary, 3 * self.slots + 2, WIDTH)
        self.place_points()

    @torch.no_grad()
    def place_points(self):
        """Tokens of neighbouring points begin as neighbours: waves of both coordinates, mixed at random. Else each of the
        thousand points would have to be learnt by itself."""
        at = torch.linspace(0, 1, self.sections)
        waves = torch.stack([f(torch.pi * k * at) for k in (1, 2, 4, 8) for f in (torch.sin, torch.cos)], 1)  # (sections, 8)
        x, y = (waves @ torch.randn(waves.shape[1], WIDTH) for _ in range(2))
        self.conditioner.transformer.token_emb.weight[: self.sections**2] += 0.03 * (y[:, None] + x).flatten(0, 1)

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
        return self.conditioner(inputs), None, None


class Semantic(System):
    """A label for every pixel, brought to the size of the latents and concatenated (SpatialRescaler)."""

    extra = 8

    def __init__(self, rng, vae=None):
        super().__init__(rng, vae)
        self.conditioner = SpatialRescaler(len(LABELS), self.extra)

    def draw(self, scenes, images, drop=True):
        return torch.from_numpy(np.stack([label_map(s) for s in scenes])).long()

    def condition(self, inputs):
        return None, self.conditioner(inputs), None


class Prompted(System):
    """Beside its picture it may be told a caption, to the frozen text encoder of the text model; four in ten are left out."""

    context = WIDTH

    def __init__(self, rng, vae=None):
        super().__init__(rng, vae)
        self.conditioner, self.tokenizer = CLIPTextModel().requires_grad_(False), Tokenizer()

    def ids(self, scenes, drop):
        said = [s["kind"] != "free" and not (drop and self.rng.random() < 0.4) for s in scenes]
        return torch.tensor([self.tokenizer(caption(s, self.rng) if say else "") for s, say in zip(scenes, said)])


class SuperResolution(Prompted):
    """The picture at a quarter of its size, made smaller in one of several ways and blurred a little, each at random (after
    BSR-light, appendix E.1 of the paper), with noise of a level that the U-Net is told (as SD's x4 upscaler)."""

    extra, levels = 3, 101

    def draw(self, scenes, images, drop=True):
        x, n = to_tensor(images), len(images)
        blur = torch.tensor(self.rng.uniform(0, 0.5, (n, 1, 1, 1)), dtype=torch.float32)
        x = x + blur * (F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1) - x)
        ways = [F.interpolate(x, scale_factor=0.25, mode=m, antialias=True, align_corners=False) for m in ("bilinear", "bicubic")]
        ways = torch.stack([F.avg_pool2d(x, 4), F.avg_pool2d(x, 4), *ways])
        small = ways[torch.from_numpy(self.rng.integers(len(ways), size=n)), torch.arange(n)].clamp(-1, 1)
        level = torch.from_numpy(np.minimum(self.rng.integers(0, self.levels, n), self.rng.integers(0, self.levels, n)))
        return self.ids(scenes, drop), add_noise(small, torch.randn_like(small), level, alphas_cumprod(*LOW_SCALE).float()), level

    def condition(self, inputs):
        ids, small, level = inputs
        return self.conditioner(ids), small, level


class Inpainting(Prompted):
    """The mask, and the latents of the picture with a grey hole (as the inpainting model of SD 1.x)."""

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
            code, _ = self.vae.encode(to_tensor(images).masked_fill(hole, 0.0))
        nearest = hole[..., ::4, ::4].float()  # the upper left pixel of each cell
        return self.ids(scenes, drop), torch.cat([nearest, code.float() * self.scale], 1)

    def condition(self, inputs):
        ids, concat = inputs
        return self.conditioner(ids), concat, None


SYSTEMS = {
    "unconditional": System, "class": ClassConditional, "layout": Layout,
    "semantic": Semantic, "superres": SuperResolution, "inpaint": Inpainting,
}  # fmt: skip
