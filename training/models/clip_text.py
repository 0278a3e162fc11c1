"""The CLIP text transformer (causal, pre-norm, quick GELU), parameter names as in SD 1.x files (``text_model.*``).

Token ids (B, T) -> last hidden state after the final norm (B, T, width).
"""
import math

import torch
from torch import nn


class Embeddings(nn.Module):
    def __init__(self, vocabulary, width, length):
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.position_embedding = nn.Embedding(length, width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding.weight, std=0.02)

    def forward(self, ids):
        return self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj))
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).masked_fill(later, -math.inf).softmax(-1, dtype=q.dtype)
        return self.out_proj((weights @ v).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        h = self.fc1(x)
        return self.fc2(h * torch.sigmoid(1.702 * h))


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.layer_norm1, self.self_attn = nn.LayerNorm(width), Attention(width, heads)
        self.layer_norm2, self.mlp = nn.LayerNorm(width), MLP(width)

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    def __init__(self, width, heads, layers):
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))


class TextModel(nn.Module):
    def __init__(self, vocabulary, width, heads, layers, length):
        super().__init__()
        self.embeddings = Embeddings(vocabulary, width, length)
        self.encoder = Encoder(width, heads, layers)
        self.final_layer_norm = nn.LayerNorm(width)


class CLIPTextModel(nn.Module):
    def __init__(self, vocabulary=971, width=128, heads=4, layers=3, length=77):
        super().__init__()
        self.text_model = TextModel(vocabulary, width, heads, layers, length)

    def forward(self, ids):
        return self.text_model.final_layer_norm(self.hidden(ids, 0))

    def hidden(self, ids, skip=1):
        """The output of all but the last ``skip`` layers, without the norm, as SDXL reads it."""
        x = self.text_model.embeddings(ids)
        for layer in self.text_model.encoder.layers[: len(self.text_model.encoder.layers) - skip]:
            x = layer(x)
        return x
