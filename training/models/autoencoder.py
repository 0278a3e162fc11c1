"""The first stage: an autoencoder with a slight KL penalty (LDM paper, section 3.1 and appendix G), CompVis names.

Pictures (B, 3, H, W) in -1..1 <-> latents (B, 4, H/f, W/f), f = 2 ** (levels - 1).
"""
import torch
import torch.nn.functional as F
from torch import nn


def norm(channels):
    return nn.GroupNorm(32, channels, eps=1e-6)


class ResnetBlock(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.norm1, self.conv1 = norm(cin), nn.Conv2d(cin, cout, 3, padding=1)
        self.norm2, self.conv2 = norm(cout), nn.Conv2d(cout, cout, 3, padding=1)
        if cin != cout:
            self.nin_shortcut = nn.Conv2d(cin, cout, 1)

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class AttnBlock(nn.Module):
    """Single-head self-attention over all positions."""

    def __init__(self, channels):
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x):
        h = self.norm(x)
        q, k, v = (f(h).flatten(2).transpose(1, 2) for f in (self.q, self.k, self.v))  # (B, HW, C)
        weights = (q @ k.transpose(1, 2) * x.shape[1] ** -0.5).softmax(-1, dtype=q.dtype)
        return x + self.proj_out((weights @ v).transpose(1, 2).unflatten(2, x.shape[2:]))


class Downsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Holder of one resolution's blocks, for the parameter names."""

    def __init__(self, blocks, **scaling):
        super().__init__()
        self.block = nn.ModuleList(blocks)
        for name, module in scaling.items():
            setattr(self, name, module)


class Middle(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = ResnetBlock(channels, channels), AttnBlock(channels), ResnetBlock(channels, channels)

    def forward(self, x):
        return self.block_2(self.attn_1(self.block_1(x)))


class Encoder(nn.Module):
    def __init__(self, widths, res_blocks, latent):
        super().__init__()
        self.conv_in, width, levels = nn.Conv2d(3, widths[0], 3, padding=1), widths[0], []
        for i, w in enumerate(widths):
            blocks = [ResnetBlock(width if j == 0 else w, w) for j in range(res_blocks)]
            levels.append(Level(blocks, **({"downsample": Downsample(w)} if i < len(widths) - 1 else {})))
            width = w
        self.down, self.mid = nn.ModuleList(levels), Middle(width)
        self.norm_out, self.conv_out = norm(width), nn.Conv2d(width, 2 * latent, 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for level in self.down:
            for block in level.block:
                x = block(x)
            if hasattr(level, "downsample"):
                x = level.downsample(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    def __init__(self, widths, res_blocks, latent):
        super().__init__()
        width = widths[-1]
        self.conv_in, self.mid, levels = nn.Conv2d(latent, width, 3, padding=1), Middle(width), []
        for i, w in reversed(list(enumerate(widths))):
            blocks = [ResnetBlock(width if j == 0 else w, w) for j in range(res_blocks + 1)]
            levels.insert(0, Level(blocks, **({"upsample": Upsample(w)} if i else {})))
            width = w
        self.up = nn.ModuleList(levels)
        self.norm_out, self.conv_out = norm(width), nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, z):
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            for block in level.block:
                x = block(x)
            if hasattr(level, "upsample"):
                x = level.upsample(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class AutoencoderKL(nn.Module):
    def __init__(self, widths=(32, 32, 64), res_blocks=1, latent=4):
        super().__init__()
        self.encoder, self.decoder = Encoder(widths, res_blocks, latent), Decoder(widths, res_blocks, latent)
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)

    def encode(self, x):
        """-> mean and log variance of the latents, each (B, 4, h, w)."""
        mean, logvar = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return mean, logvar.clamp(-30, 20)

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z))


def to_tensor(images):
    """uint8 (B, H, W, 3) -> float (B, 3, H, W) in -1..1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_images(x):
    """float (B, 3, H, W) in -1..1 -> uint8 (B, H, W, 3)."""
    return ((x.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
