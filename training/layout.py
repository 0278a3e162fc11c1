"""A helper for the text encoder: from its output, tell what stands where.

At the highest noise the best answer of a diffusion model is the mean picture of a caption, so a text encoder must say
which object belongs where before anything else can come out right. The gradient that reaches it through the U-Net says
so only faintly. This head says it directly: a learned query for each cell of an 8x8 grid pools the tokens, and a small
network tells the cell's colour, shape and latents. It is used in training only and thrown away afterwards.
"""
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .models.unet import CrossAttention
from .scene import COLOR_NAMES
from .shapes import EXTENT, SHAPES

CELLS = 8


def layout_targets(scene):
    """(8, 8) colour and shape classes of the cells' centres: 0 for background, else 1 + index."""
    color, shape = np.zeros((2, CELLS, CELLS), np.int64)
    y, x = (np.mgrid[:CELLS, :CELLS] + 0.5) / CELLS
    for o in scene["objs"]:
        side, up, down = EXTENT[o["shape"]]
        dy = y - o["y"]
        inside = (np.abs(x - o["x"]) < side * o["r"]) & (dy > -up * o["r"]) & (dy < down * o["r"])
        color[inside] = 1 + COLOR_NAMES.index(o["color"])
        shape[inside] = 1 + SHAPES.index(o["shape"])
    return color, shape


class LayoutHead(nn.Module):
    def __init__(self, width=128, heads=8, latent=4):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(CELLS * CELLS, width) * 0.5)
        self.pool = CrossAttention(width, heads, width)
        self.net = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU())
        self.color = nn.Linear(2 * width, 1 + len(COLOR_NAMES))
        self.shape = nn.Linear(2 * width, 1 + len(SHAPES))
        self.latent = nn.Linear(2 * width, 4 * latent)  # a cell is 2x2 latents

    def forward(self, context):
        q = self.queries.expand(len(context), -1, -1)
        h = self.net(q + self.pool(q, context))
        return self.color(h), self.shape(h), self.latent(h)

    def loss(self, context, color, shape, latents):
        """context (B, T, width), color and shape (B, 64), latents (B, 4, 16, 16) -> loss and its parts."""
        c, s, z = self(context)
        target = F.pixel_unshuffle(latents, latents.shape[-1] // CELLS).flatten(2).transpose(1, 2)  # (B, 64, 16)
        parts = (
            F.cross_entropy(c.float().flatten(0, 1), color.flatten()),
            F.cross_entropy(s.float().flatten(0, 1), shape.flatten()),
            F.mse_loss(z.float(), target),
        )
        return sum(parts), parts, c
