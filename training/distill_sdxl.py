"""Trains a few-step student of the small SDXL (sdxl.py): a network of the base model's own structure that needs no guidance.

python -m training.distill_sdxl pairs --model models/tiny-scenes.gguf --base base.pt --count 3000 --out sdxl-pairs.pt
python -m training.distill_sdxl student --model models/tiny-scenes.gguf --base base.pt --pairs sdxl-pairs.pt --out turbo.pt

As distill.py, but all weights are trained and several steps are possible: pure noise at the first of TIMESTEPS has to give what the
base model draws from that noise in many guided steps, and at the others these pictures with fresh noise have to give themselves. For
sampling: sampler 'lcm', timesteps TIMESTEPS (or some of them, the first included), guidance scale 1.
"""
import argparse
import os

import numpy as np
import torch
from safetensors.torch import load_file

from .captions import caption
from .checkpoint import load
from .diffusion import add_noise, alphas_cumprod, dpm_solver_2m
from .distill import HELD_BACK, difference
from .loop import Clock, Log, Loop, parameter_groups, write
from .scene import Sampler
from .sdxl import SIDE, WIDTH, Towers, build, embed_numbers
from .tokenizer import Tokenizer

TIMESTEPS = (800, 600, 400, 200)


class Told:
    """What a base model is told about captions of pictures that are neither enlarged nor cropped; worked out once, for many steps."""

    @torch.no_grad()
    def __init__(self, towers, ids, named):
        parts = [towers(i, True, n) for i, n in zip(ids.split(100), named.split(100))]
        self.context, pooled = (torch.cat(p) for p in zip(*parts))
        self.vector = torch.cat([pooled, embed_numbers([(SIDE, SIDE, 0, 0, SIDE, SIDE)] * len(ids))], 1)

    def __call__(self, unet, x, t, index=slice(None)):
        with torch.autocast("cpu", torch.bfloat16):
            return unet(x, t, self.context[index], self.vector[index]).float()


def guided(unet, towers, ids, scale):
    """The base model's noise estimate with classifier-free guidance, for one batch of captions."""
    n = len(ids)
    told = Told(towers, torch.cat([ids, ids]), torch.arange(2 * n) < n)

    def estimate(x, t):
        cond, uncond = told(unet, torch.cat([x, x]), torch.full((2 * n,), t)).chunk(2)
        return uncond + scale * (cond - uncond)

    return estimate


@torch.no_grad()
def make_pairs(args, towers, unet):
    """Can be ended and called again: it goes on where it was."""
    tokenizer, parts = Tokenizer(), [torch.load(args.out)] if os.path.exists(args.out) else []
    for done in range(sum(len(p["ids"]) for p in parts), args.count, args.batch):
        rng = np.random.default_rng(args.seed + done)
        sampler = Sampler(rng)
        ids = torch.tensor([tokenizer(caption(sampler.scene(), rng)) for _ in range(args.batch)])
        noise = torch.randn((args.batch, 4, 16, 16), generator=torch.Generator().manual_seed(args.seed + done))
        z = dpm_solver_2m(guided(unet, towers, ids, args.guidance), noise, args.steps)
        parts.append({"ids": ids.short(), "noise": noise.half(), "z": z.half()})
        if done // args.batch % 10 == 9 or done + args.batch >= args.count:
            pairs = {k: torch.cat([p[k] for p in parts]) for k in parts[0]}
            write(args.out, lambda path, pairs=pairs: torch.save(pairs, path))
            print(done + args.batch, flush=True)


@torch.no_grad()
def merge_adapter(unet, path):
    """Adds an adapter of the embedded model (adapter.py) to a base model's weights: what it changes of the cross-attention's context
    goes to both towers by half, as in ``from_embedded``."""
    tensors, layers = load_file(path), {"lora_unet_" + name.replace(".", "_"): layer for name, layer in unet.named_modules()}
    for key in {k.split(".")[0] for k in tensors}:
        up, down, layer = tensors[f"{key}.lora_up.weight"].float(), tensors[f"{key}.lora_down.weight"].float(), layers[key]
        change = up.flatten(1) @ down.flatten(1) * (tensors[f"{key}.alpha"].item() / len(down))
        copies = layer.weight.shape[1] // WIDTH if key.endswith(("attn2_to_k", "attn2_to_v")) else 1
        layer.weight += torch.cat([change / copies] * copies, 1).view_as(layer.weight)
        if f"{key}.diff_b" in tensors:
            layer.bias += tensors[f"{key}.diff_b"].float()


def train(args, towers, unet):
    if args.adapter:
        merge_adapter(unet, args.adapter)
    alphas, rng = alphas_cumprod().float(), np.random.default_rng(args.seed)
    pairs, order = {k: v.long() if k == "ids" else v.float() for k, v in torch.load(args.pairs).items()}, []
    told = Told(towers, pairs["ids"], torch.ones(len(pairs["ids"])))
    clock, log = Clock(args.minutes, samples=args.samples), Log(args.log)
    groups = parameter_groups({"unet": unet})
    loop = Loop(unet.parameters(), groups, clock, log, rate=args.rate, warmup=50, flat=args.flat, average=args.average, minutes=2, every=100)

    def clean(x, t, index):
        """Noisy latents -> clean ones in one evaluation, as an LCM step makes them."""
        a = alphas[t].view(-1, 1, 1, 1)
        eps = told(unet, x, t, index)
        return (x - (1 - a).sqrt() * eps) / a.sqrt()

    def loss():
        nonlocal order
        if len(order) < args.batch:
            order = list(rng.permutation(np.arange(HELD_BACK, len(pairs["ids"]))))
        index, order = order[: args.batch], order[args.batch :]
        noise, z = pairs["noise"][index], pairs["z"][index]
        later = torch.rand(len(z)) < args.later
        t = torch.where(later, torch.tensor(TIMESTEPS[1:])[torch.randint(len(TIMESTEPS) - 1, (len(z),))], TIMESTEPS[0])
        x = torch.where(later[:, None, None, None], add_noise(z, torch.randn_like(z), t, alphas), noise)
        return difference(clean(x, t, index), z), args.batch

    @torch.no_grad()
    def validate():
        """The squared error relative to the latents themselves, of held-back pairs after one step and after all of them."""
        noise, z = pairs["noise"][:HELD_BACK], pairs["z"][:HELD_BACK]
        x, errors = noise, {}
        for i, t in enumerate(TIMESTEPS):
            level = torch.full((len(z),), t)
            if i:
                x = add_noise(x, torch.randn(z.shape, generator=torch.Generator().manual_seed(i)), level, alphas)
            x = clean(x, level, slice(HELD_BACK))
            if i in (0, len(TIMESTEPS) - 1):
                errors[f"relative_{i + 1}"] = ((x - z).square().mean() / z.square().mean()).item()
        return errors

    def save(_=0):
        log(step=loop.step, minutes=clock.minutes, seen=clock.seen, **validate())
        write(args.out, lambda path: torch.save({"unet": unet.state_dict(), "scale": args.scale, "seen": clock.seen}, path))

    save()
    loop.run(loss, save)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pairs", "student"))
    parser.add_argument("--model", required=True, help="the embedded model")
    parser.add_argument("--base", required=True, help="a state of train_sdxl base")
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=3000, help="pairs: how many")
    parser.add_argument("--steps", type=int, default=10, help="pairs: of DPM-Solver++ 2M")
    parser.add_argument("--guidance", type=float, default=3, help="pairs: scale")
    parser.add_argument("--pairs", help="student: what pairs wrote")
    parser.add_argument("--adapter", help="student: a one-step adapter of the embedded model to begin with")
    parser.add_argument("--log", default="distill-sdxl.jsonl")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--samples", type=int, help="a budget of samples in place of one of time")
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--flat", type=float, default=0.4)
    parser.add_argument("--later", type=float, default=0.4, help="share of the samples at later steps than the first")
    parser.add_argument("--average", type=float, default=0.995)
    parser.add_argument("--seed", type=int, default=5000)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    towers, unet, state = Towers(load(args.model)["text"]), build("base"), torch.load(args.base)
    unet.load_state_dict(state["unet"])
    args.scale = state["scale"]
    if args.what == "pairs":
        make_pairs(args, towers, unet)
    else:
        train(args, towers, unet)


if __name__ == "__main__":
    main()
