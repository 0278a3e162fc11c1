"""OpenCLIP's text transformer (causal, pre-norm, GELU), parameter names as in SDXL's single files (``conditioner.embedders.1.model.*``).

Token ids (B, T), padded with 0 -> the output of all layers but the last, without a norm (B, T, width), and the pooled vector
(B, width): the last layer after the final norm at the end token, projected.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x):
        parts = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in parts)
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).masked_fill(later, -math.inf).softmax(-1, dtype=q.dtype)
        return self.out_proj((weights @ v).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.ln_2, self.mlp = nn.LayerNorm(width), MLP(width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, heads, layers):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads) for _ in range(layers))


class OpenCLIPTextModel(nn.Module):
    def __init__(self, vocabulary=971, width=128, heads=4, layers=5, length=77):
        super().__init__()
        self.end = vocabulary - 1  # the end token is the last one
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.randn(length, width) * 0.02)
        self.transformer, self.ln_final = Transformer(width, heads, layers), nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.eye(width))

    def forward(self, ids):
        *blocks, last = self.transformer.resblocks
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        for block in blocks:
            x = block(x)
        at = (ids == self.end).int().argmax(1)
        pooled = self.ln_final(last(x))[torch.arange(len(x)), at] @ self.text_projection
        return x, pooled
