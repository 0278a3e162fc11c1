"""Trains U-Net and text encoder together on the latents of the frozen first stage (LDM paper, equation 3).

python -m training.train --latents latents.npy --scenes A.pkl B.pkl --init model.safetensors --text text.pt --out state.pt

Noise prediction; the loss is weighted by what an error costs in the picture (an error in x_0 weighs min(1 + SNR, 5), at
most 25 times an error in the noise), and noise levels are drawn by the square root of that weight: layout is decided at
high noise. Captions are left out one time in ten, for classifier-free guidance.
"""
import argparse
import os

import numpy as np
import torch

from .checkpoint import load
from .dataset import LatentData
from .diffusion import STEPS, add_noise, alphas_cumprod
from .layout import LayoutHead
from .loop import Average, Clock, Log, parameter_groups, set_rate
from .models import CLIPTextModel, UNetModel
from .pretrain_text import SHORT
from .threads import Threads


class NoiseLevels:
    """Draws timesteps and gives the weights that make up for how often each is drawn."""

    def __init__(self, alphas, cap=25.0):
        snr = alphas / (1 - alphas)
        weight = ((snr + 1).clamp(max=5.0) / snr).clamp(max=cap)
        p = weight.sqrt()
        p = p / p.sum()
        self.cumulative = torch.cumsum(p, 0)
        self.weight = weight / (p * STEPS)
        self.weight = self.weight / (self.weight * p).sum()

    def draw(self, n):
        """Stratified: one from each n-th part of the distribution."""
        u = (torch.randperm(n) + torch.rand(n)) / n
        return torch.searchsorted(self.cumulative, u).clamp(0, STEPS - 1)


def freeze_outer(unet):
    """Leaves the finest resolution as it is: it draws edges, while what stands where is decided further in."""
    for block in [*unet.input_blocks[:2], *unet.output_blocks[-2:], unet.out]:
        block.requires_grad_(False)


class Validation:
    """The noise prediction error on held-back pictures: the same noise every time, quarters of the noise levels apart."""

    def __init__(self, data, alphas):
        self.z, self.ids, self.color, self.shape = data.validation()
        n = len(self.z)
        self.t = ((torch.arange(n) + 0.5) * STEPS / n).long()
        self.noise = torch.randn(self.z.shape, generator=torch.Generator().manual_seed(3))
        self.noisy = add_noise(self.z, self.noise, self.t, alphas)

    @torch.no_grad()
    def __call__(self, unet, text):
        errors = []
        for i in range(0, len(self.z), 64):
            s = slice(i, i + 64)
            with torch.autocast("cpu", torch.bfloat16):
                eps = unet(self.noisy[s], self.t[s], text(self.ids[s]))
            errors.append((eps.float() - self.noise[s]).square().mean((1, 2, 3)))
        quarters = torch.cat(errors).chunk(4)
        return {"val": torch.cat(errors).mean().item(), **{f"val_q{i}": q.mean().item() for i, q in enumerate(quarters)}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", required=True)
    parser.add_argument("--scenes", nargs="+", required=True)
    parser.add_argument("--init", help="an SD 1.x file to start from")
    parser.add_argument("--text", help="text encoder and head from pretrain_text")
    parser.add_argument("--resume", help="a state written by this script")
    parser.add_argument("--out", required=True)
    parser.add_argument("--log", default="train.jsonl")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--text-rate", type=float, default=0.4, help="factor for the text encoder")
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--flat", type=float, default=0.4, help="part of the time before the rate goes down")
    parser.add_argument("--head-weight", type=float, default=0.05, help="of the layout head's loss")
    parser.add_argument("--inner", action="store_true", help="train the U-Net's coarser levels only; a third cheaper")
    parser.add_argument("--short", type=int, default=8, help="only one step in so many sees the padding beyond any caption's length")
    parser.add_argument("--average", type=float, default=0.999)
    parser.add_argument("--seed", type=int, default=31)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    threads, data = Threads(), LatentData(args.latents, args.scenes, args.seed)
    models = {"unet": UNetModel(), "text": CLIPTextModel(), "head": LayoutHead()}
    unet, text, head = models.values()
    if args.init:
        load(args.init, {"unet": unet, "text": text})
    if args.text:
        state = torch.load(args.text)
        text.load_state_dict(state["text"])
        head.load_state_dict(state["head"])

    if args.inner:
        freeze_outer(unet)
    parameters = [p for m in models.values() for p in m.parameters()]
    optimizer = torch.optim.AdamW(parameter_groups(models, {"text": args.text_rate, "head": args.text_rate}), lr=args.rate, betas=(0.9, 0.99))
    average = Average(parameters, args.average)
    seen = 0
    if args.resume:
        state = torch.load(args.resume)
        for name, model in models.items():
            model.load_state_dict(state[name])
        optimizer.load_state_dict(state["optimizer"])
        average.values, average.steps, seen = state["average"], state["average_steps"], state["seen"]
    alphas = alphas_cumprod().float()
    levels, validation = NoiseLevels(alphas), Validation(data, alphas)
    clock, log, step, history, saved = Clock(args.minutes), Log(args.log), 0, [], 0.0

    def save():
        state = {name: model.state_dict() for name, model in models.items()}
        state.update(optimizer=optimizer.state_dict(), average=average.values, average_steps=average.steps, seen=seen, scale=data.scale)
        torch.save(state, args.out + ".tmp")
        os.replace(args.out + ".tmp", args.out)

    while clock.progress < 1:
        set_rate(optimizer, args.rate * clock.rate(step, args.warmup, args.flat))
        z, ids, color, shape = data.batch(args.batch)
        if step % args.short and clock.progress < 0.85:
            ids = ids[:, :SHORT]
        t, noise = levels.draw(args.batch), torch.randn_like(z)
        with torch.autocast("cpu", torch.bfloat16):
            context = text(ids)
            eps = unet(add_noise(z, noise, t, alphas), t, context)
            error = (eps.float() - noise).square().mean((1, 2, 3))
            loss = (error * levels.weight[t]).mean()
            named = ids[:, 1] != ids[:, 2]  # captions that were not left out
            layout, parts, _ = head.loss(context[named], color[named], shape[named], z[named])
        optimizer.zero_grad(set_to_none=True)
        (loss + args.head_weight * layout).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update()
        threads.tick()
        step += 1
        seen += args.batch
        history.append([loss.item(), error.mean().item(), parts[0].item()])
        if step % 100 == 0:
            mean = np.mean(history[-100:], 0)
            log(step=step, minutes=clock.minutes, seen=seen, loss=float(mean[0]), eps=float(mean[1]), layout=float(mean[2]), rate=optimizer.param_groups[0]["lr"], threads=torch.get_num_threads())
        if clock.minutes - saved > 3 or clock.progress >= 1:
            saved = clock.minutes
            average.swap()
            log(step=step, minutes=clock.minutes, seen=seen, **validation(unet, text))
            average.swap()
            save()


if __name__ == "__main__":
    main()
