"""Trains the first stage (LDM paper, section 3.1): python -m training.first_stage --data FILES --out FILE.pt

Loss: |x - y| + 2 (x - y)^2 + differences of neighbouring pixels (edges) + a small KL term; pixels of and around edges
weigh more. ``--decoder-only`` polishes the decoder and leaves the latents as they are, so that a diffusion model that
is being trained on them stays valid. ``--noise`` then adds to the latents the small errors that a sampler makes.
"""
import argparse
import math
import os

import numpy as np
import torch
import torch.nn.functional as F

from .checkpoint import load
from .loop import Average, Clock, Log, set_rate
from .models import AutoencoderKL
from .models.autoencoder import to_tensor
from .muon import Muon
from .threads import Threads


def differences(x):
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def edge_weight(x):
    """(B, 1, H, W), mean one: one plus the contrast found within two pixels."""
    high = F.max_pool2d(x, 5, 1, 2) + F.max_pool2d(-x, 5, 1, 2)
    w = 1 + 2 * high.mean(1, keepdim=True)
    return w / w.mean((2, 3), keepdim=True)


def reconstruction_loss(x, y):
    w = edge_weight(x)
    dx, dy = (a - b for a, b in zip(differences(x), differences(y)))
    return (w * ((x - y).abs() + 2 * (x - y) ** 2)).mean() + 0.5 * (dx.abs().mean() + dy.abs().mean())


def psnr(x, y):
    """Mean over the pictures, of values in -1..1."""
    return (10 * torch.log10(4 / (x - y.clamp(-1, 1)).square().mean((1, 2, 3)))).mean().item()


@torch.no_grad()
def validate(vae, images):
    out = []
    for part in images.split(64):
        with torch.autocast("cpu", torch.bfloat16):
            out.append(vae.decode(vae.encode(part)[0]).float())
    return psnr(images, torch.cat(out))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, help="pictures (.npy)")
    parser.add_argument("--out", required=True)
    parser.add_argument("--log", default="first_stage.jsonl")
    parser.add_argument("--init", help="start from an SD 1.x file or from a state saved here")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decoder-only", action="store_true")
    parser.add_argument("--latents", nargs="+", help="with --decoder-only: the pictures' latents (encode.py), not to compute them again")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation added to the latents")
    parser.add_argument("--kl", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rng, threads = np.random.default_rng(args.seed), Threads()
    data = [np.load(f, mmap_mode="r") for f in args.data]
    vae = AutoencoderKL()
    if args.init and args.init.endswith(".safetensors"):
        load(args.init, {"vae": vae})
    elif args.init:
        vae.load_state_dict(torch.load(args.init))
    val = to_tensor(data[0][-128:])
    if args.decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    named = {n: p for n, p in vae.named_parameters() if p.requires_grad}
    trained = list(named.values())
    hidden = [p for n, p in named.items() if p.ndim > 1 and "conv_in" not in n and "conv_out" not in n and "quant" not in n]
    rest = [p for p in trained if all(p is not h for h in hidden)]
    optimizers = [
        Muon([{"params": hidden}], lr=args.rate),
        torch.optim.AdamW([{"params": rest, "factor": 1.0}], lr=args.rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    latents = [np.load(f, mmap_mode="r") for f in args.latents or []]
    scale = float(open(args.latents[0] + ".scale").read()) if latents else 1.0
    average, clock, log = Average(trained, 0.998), Clock(args.minutes), Log(args.log)
    step, losses, squared, saved = 0, [], [], 0.0
    while clock.progress < 1:
        for optimizer in optimizers:
            set_rate(optimizer, args.rate * clock.rate(step, flat=0.3))
        k = rng.integers(len(data))
        index = np.sort(rng.integers(0, len(data[k]) - 128, args.batch))
        x = to_tensor(data[k][index])
        with torch.autocast("cpu", torch.bfloat16):
            if latents:
                mean = torch.from_numpy(latents[k][index]).float() / scale
                std, kl = args.noise, 0.0
            else:
                with torch.set_grad_enabled(not args.decoder_only):
                    mean, logvar = (v.float() for v in vae.encode(x))
                std = args.noise if args.decoder_only else torch.exp(0.5 * logvar)
                kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
            y = vae.decode(mean + std * torch.randn_like(mean)).float()
        loss = reconstruction_loss(x, y) + args.kl * kl
        vae.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        average.update()
        threads.tick()
        step += 1
        losses.append(loss.item())
        squared.append((x - y.detach()).square().mean().item())
        if step % 50 == 0 or clock.progress >= 1:
            mse = float(np.mean(squared[-50:]))
            log(step=step, minutes=clock.minutes, loss=float(np.mean(losses[-50:])), psnr=10 * math.log10(4 / mse), threads=torch.get_num_threads())
        if clock.minutes - saved > 2 or clock.progress >= 1:
            saved = clock.minutes
            average.swap()
            log(step=step, minutes=clock.minutes, val_psnr=validate(vae, val))
            torch.save(vae.state_dict(), args.out + ".tmp")
            os.replace(args.out + ".tmp", args.out)
            average.swap()


if __name__ == "__main__":
    main()
