"""What the paper's other systems are conditioned by (ldm.modules.encoders.modules), CompVis parameter names."""
import torch.nn.functional as F
from torch import nn



class ClassEmbedder(nn.Module):
    """Class numbers (B,) -> one token each (B, 1, width)."""

    def __init__(self, classes, width=128):
        super().__init__()
        self.embedding = nn.Embedding(classes, width)

    def forward(self, ids):
        return self.embedding(ids)[:, None]


class Attention(nn.Module):
    """x_transformer.Attention: heads of 64 whatever the width, all tokens see all."""

    def __init__(self, width, heads=8, head_width=64):
        super().__init__()
        self.heads, inner = heads, heads * head_width
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.to_out = nn.Linear(inner, width)

    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.to_q, self.to_k, self.to_v))
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.Sequential(nn.Linear(width, 4 * width), nn.GELU()), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x):
        return self.net(x)


class Layers(nn.Module):
    """Attention and feed-forward by turns, each after a norm."""

    def __init__(self, width, depth):
        super().__init__()
        pairs = [nn.ModuleList([nn.LayerNorm(width), make(width)]) for _ in range(depth) for make in (Attention, FeedForward)]
        self.layers = nn.ModuleList(pairs)

    def forward(self, x):
        for norm, layer in self.layers:
            x = x + layer(norm(x))
        return x


class Positions(nn.Module):
    def __init__(self, length, width):
        super().__init__()
        self.emb = nn.Embedding(length, width)


class TransformerWrapper(nn.Module):
    def __init__(self, vocabulary, length, width, depth):
        super().__init__()
        self.token_emb, self.pos_emb = nn.Embedding(vocabulary, width), Positions(length, width)
        self.attn_layers, self.norm = Layers(width, depth), nn.LayerNorm(width)
        for table in (self.token_emb, self.pos_emb.emb):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, ids):
        x = self.token_emb(ids) + self.pos_emb.emb.weight[: ids.shape[1]]
        return self.norm(self.attn_layers(x))


class BERTEmbedder(nn.Module):
    """Tokens (B, T) -> (B, T, width), as layout2img uses it: without a tokenizer."""

    def __init__(self, vocabulary, length, width=128, depth=3):
        super().__init__()
        self.transformer = TransformerWrapper(vocabulary, length, width, depth)

    def forward(self, ids):
        return self.transformer(ids)


class SpatialRescaler(nn.Module):
    """Label maps (B, H, W) -> (B, channels, H / 4, W / 4): shares of the labels in every cell, then a linear map of them."""

    def __init__(self, labels, channels, stages=2):
        super().__init__()
        self.labels, self.factor = labels, 2**stages
        self.channel_mapper = nn.Conv2d(labels, channels, 1, bias=False)

    def forward(self, maps):
        shares = F.avg_pool2d(F.one_hot(maps, self.labels).permute(0, 3, 1, 2).float(), self.factor)
        return self.channel_mapper(shares)
