"""The time-conditioned U-Net of the LDM paper (section 3.2-3.3 and appendix E), CompVis parameter names.

Shapes: x (B, 4 + extra, h, w), t (B,), context (B, T, context_dim), level (B,) -> (B, 4, h, w). With a context its
attention is that of SD 1.x; without one (unconditional and concatenating models) it is plain self-attention.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn


def timestep_embedding(t, dim):
    """Sinusoidal embedding, cosine half first: (B,) -> (B, dim)."""
    half = dim // 2
    freqs = torch.exp(-math.log(10000.0) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
    args = t.float()[:, None] * freqs
    return torch.cat([args.cos(), args.sin()], dim=1)


class ResBlock(nn.Module):
    def __init__(self, cin, emb_dim, cout):
        super().__init__()
        self.in_layers = nn.Sequential(nn.GroupNorm(32, cin), nn.SiLU(), nn.Conv2d(cin, cout, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_dim, cout))
        self.out_layers = nn.Sequential(nn.GroupNorm(32, cout), nn.SiLU(), nn.Identity(), nn.Conv2d(cout, cout, 3, padding=1))
        self.skip_connection = nn.Identity() if cin == cout else nn.Conv2d(cin, cout, 1)

    def forward(self, x, emb):
        h = self.in_layers(x) + self.emb_layers(emb)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class CrossAttention(nn.Module):
    """Attention of x (B, N, dim) to context (B, M, ctx_dim); to itself without one."""

    def __init__(self, dim, heads, ctx_dim=None):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(ctx_dim or dim, dim, bias=False)
        self.to_v = nn.Linear(ctx_dim or dim, dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(dim, dim))

    def forward(self, x, context=None):
        context = x if context is None else context
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.to_q(x), self.to_k(context), self.to_v(context)))
        weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(-1, dtype=q.dtype)
        return self.to_out((weights @ v).transpose(1, 2).flatten(2))


class GEGLU(nn.Module):
    def __init__(self, dim, inner):
        super().__init__()
        self.proj = nn.Linear(dim, inner * 2)

    def forward(self, x):
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.net = nn.Sequential(GEGLU(dim, dim * 4), nn.Identity(), nn.Linear(dim * 4, dim))

    def forward(self, x):
        return self.net(x)


class TransformerBlock(nn.Module):
    def __init__(self, dim, heads, ctx_dim):
        super().__init__()
        self.attn1 = CrossAttention(dim, heads)
        self.ff = FeedForward(dim)
        self.attn2 = CrossAttention(dim, heads, ctx_dim)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x, context):
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """``linear``: projections as linear layers (SD 2, SDXL) in place of 1x1 convolutions; the same numbers in another shape."""

    def __init__(self, dim, heads, ctx_dim, linear=False):
        super().__init__()
        self.norm = nn.GroupNorm(32, dim, eps=1e-6)
        self.proj_in = nn.Linear(dim, dim) if linear else nn.Conv2d(dim, dim, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(dim, heads, ctx_dim)])
        self.proj_out = nn.Linear(dim, dim) if linear else nn.Conv2d(dim, dim, 1)

    def forward(self, x, context):
        size = x.shape[2:]
        h = F.linear(self.norm(x).flatten(2).transpose(1, 2), self.proj_in.weight.flatten(1), self.proj_in.bias)  # (B, hw, dim)
        for block in self.transformer_blocks:
            h = block(h, context)
        h = F.linear(h, self.proj_out.weight.flatten(1), self.proj_out.bias)
        return x + h.transpose(1, 2).unflatten(2, size)


class AttentionBlock(nn.Module):
    """Self-attention of U-Nets without a context; each head's queries, keys and values lie side by side (QKVAttentionLegacy)."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm, self.qkv, self.proj_out = nn.GroupNorm(32, dim), nn.Conv1d(dim, 3 * dim, 1), nn.Conv1d(dim, dim, 1)

    def forward(self, x):
        h = self.norm(x).flatten(2).transpose(1, 2)  # (B, hw, dim)
        h = F.linear(h, self.qkv.weight[..., 0], self.qkv.bias).unflatten(-1, (self.heads, 3, -1))
        q, k, v = h.permute(3, 0, 2, 1, 4)  # each (B, heads, hw, width)
        weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(-1, dtype=q.dtype)
        h = F.linear((weights @ v).transpose(1, 2).flatten(2), self.proj_out.weight[..., 0], self.proj_out.bias)
        return x + h.transpose(1, 2).unflatten(2, x.shape[2:])


class Downsample(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.op = nn.Conv2d(dim, dim, 3, stride=2, padding=1)

    def forward(self, x):
        return self.op(x)


class Upsample(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Stage(nn.Sequential):
    """Layers in a row; each gets what it asks for (embedding, context)."""

    def forward(self, x, emb, context):
        for layer in self:
            if isinstance(layer, ResBlock):
                x = layer(x, emb)
            elif isinstance(layer, SpatialTransformer):
                x = layer(x, context)
            else:
                x = layer(x)
        return x


class UNetModel(nn.Module):
    """``context``: width of the tokens it attends to, None for an AttentionBlock U-Net; ``extra``: channels concatenated to the latents;
    ``levels``: rows of a table that is added to the embedding of the timestep (the noise levels of SD's x4 upscaler); ``vector``: length
    of a vector that is embedded and added there (SDXL), given to ``forward`` in place of a level; ``middle``: False for none, as in
    distilled U-Nets."""

    def __init__(
        self, channels=64, mult=(1, 2, 2), res_blocks=1, attention=(2, 4), context=128, heads=4, latent=4, extra=0, levels=0,
        vector=0, linear=False, middle=True,
    ):  # fmt: skip
        super().__init__()

        def attend(width):
            return AttentionBlock(width, heads) if context is None else SpatialTransformer(width, heads, context, linear)

        self.channels, emb = channels, channels * 4
        self.time_embed = nn.Sequential(nn.Linear(channels, emb), nn.SiLU(), nn.Linear(emb, emb))
        if levels:
            self.label_emb = nn.Embedding(levels, emb)
            nn.init.zeros_(self.label_emb.weight)
        if vector:
            self.label_emb = nn.Sequential(nn.Sequential(nn.Linear(vector, emb), nn.SiLU(), nn.Linear(emb, emb)))
            nn.init.zeros_(self.label_emb[0][2].weight)
            nn.init.zeros_(self.label_emb[0][2].bias)
        self.input_blocks = nn.ModuleList([Stage(nn.Conv2d(latent + extra, channels, 3, padding=1))])
        width, scale, skips = channels, 1, [channels]
        for level, m in enumerate(mult):
            for _ in range(res_blocks):
                layers = [ResBlock(width, emb, m * channels)]
                width = m * channels
                if scale in attention:
                    layers.append(attend(width))
                self.input_blocks.append(Stage(*layers))
                skips.append(width)
            if level != len(mult) - 1:
                self.input_blocks.append(Stage(Downsample(width)))
                skips.append(width)
                scale *= 2
        self.middle_block = Stage(ResBlock(width, emb, width), attend(width), ResBlock(width, emb, width)) if middle else Stage()
        self.output_blocks = nn.ModuleList()
        for level, m in reversed(list(enumerate(mult))):
            for i in range(res_blocks + 1):
                layers = [ResBlock(width + skips.pop(), emb, m * channels)]
                width = m * channels
                if scale in attention:
                    layers.append(attend(width))
                if level and i == res_blocks:
                    layers.append(Upsample(width))
                    scale //= 2
                self.output_blocks.append(Stage(*layers))
        self.out = nn.Sequential(nn.GroupNorm(32, width), nn.SiLU(), nn.Conv2d(width, latent, 3, padding=1))

    def forward(self, x, t, context=None, level=None):
        emb = self.time_embed(timestep_embedding(t, self.channels))
        if level is not None:
            emb = emb + self.label_emb(level)
        skips = []
        for block in self.input_blocks:
            x = block(x, emb, context)
            skips.append(x)
        x = self.middle_block(x, emb, context)
        for block in self.output_blocks:
            x = block(torch.cat([x, skips.pop()], dim=1), emb, context)
        return self.out(x)
