"""Trains a low-rank adapter for a style: python -m training.train_style night --model models/tiny-scenes.gguf --out night.safetensors

The captions are those of the ordinary pictures, so the adapter learns what no caption asks for. Only the U-Net is adapted; the loss
is that of ``train.py``.
"""
import argparse
import numpy as np
import torch

from .adapter import add_adapter, save_adapter
from .captions import caption
from .checkpoint import load
from .diffusion import add_noise, alphas_cumprod
from .loop import Clock, Log, Loop, write
from .models import AutoencoderKL, CLIPTextModel, UNetModel
from .models.autoencoder import to_tensor
from .scene import Sampler
from .styles import STYLES
from .tokenizer import Tokenizer
from .train import NoiseLevels

SCALE = 0.650038


def pictures(style, count, seed, vae):
    """Scenes and their latents in the style."""
    sampler = Sampler(np.random.default_rng(seed))
    scenes = [sampler.scene() for _ in range(count)]
    latents = []
    with torch.no_grad():
        for i in range(0, count, 50):
            images = np.stack([STYLES[style](s) for s in scenes[i : i + 50]])
            latents.append(vae.encode(to_tensor(images))[0] * SCALE)
    return scenes, torch.cat(latents)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("style", choices=STYLES)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--log", default="style.jsonl")
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--samples", type=int, default=12000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--conv-rank", type=int, default=0)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--average", type=float, default=0.98)
    parser.add_argument("--seed", type=int, default=71)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    models = load(args.model, {"unet": UNetModel(), "text": CLIPTextModel(), "vae": AutoencoderKL()})
    for model in models.values():
        model.requires_grad_(False)
    unet, text, tokenizer, rng = models["unet"], models["text"], Tokenizer(), np.random.default_rng(args.seed)
    scenes, z = pictures(args.style, args.count, args.seed, models["vae"])
    parameters = add_adapter(unet, args.rank, args.conv_rank)
    alphas = alphas_cumprod().float()
    levels, clock, log = NoiseLevels(alphas), Clock(0, samples=args.samples), Log(args.log)
    print(sum(p.numel() for p in parameters), "parameters", flush=True)
    groups = [{"params": parameters}]
    loop = Loop(parameters, groups, clock, log, rate=args.rate, warmup=20, average=args.average, minutes=2, every=25, weight_decay=0)

    def loss():
        index = rng.integers(args.count, size=args.batch)
        ids = torch.tensor([tokenizer("" if rng.random() < 0.1 else caption(scenes[i], rng)) for i in index])
        t, noise = levels.draw(args.batch), torch.randn((args.batch, *z.shape[1:]))
        with torch.no_grad():
            context = text(ids)
        error = (unet(add_noise(z[index], noise, t, alphas), t, context) - noise).square().mean((1, 2, 3))
        return (error * levels.weight[t]).mean(), args.batch

    title = dict(ss_network_dim=args.rank, modelspec_title=f"Tiny Scenes, {args.style}")
    loop.run(loss, lambda _: write(args.out, lambda path: save_adapter(path, unet, **title)))


if __name__ == "__main__":
    main()
