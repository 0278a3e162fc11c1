"""Trains a one-step student: python -m training.distill --model models/tiny-scenes.gguf --pairs pairs.pt --out one-step.safetensors

The student is an adapter of the U-Net. One evaluation without guidance, on pure noise at one timestep, has to give what the
model draws from the same noise in many guided steps (pairs.py; "knowledge distillation", Luhman and Luhman 2021). The pairs are
read again while they grow. For sampling: sampler 'lcm', timesteps [TIMESTEP], guidance scale 1.
"""
import argparse
import os
import time

import numpy as np
import torch

from .adapter import add_adapter, save_adapter
from .checkpoint import load
from .diffusion import alphas_cumprod
from .loop import Clock, Log, Loop, write
from .models import CLIPTextModel, UNetModel

HELD_BACK = 100  # pairs at the beginning, for validation


class Student:
    def __init__(self, unet, timestep):
        self.unet, self.timestep, self.alpha = unet, timestep, alphas_cumprod()[timestep].item()

    def __call__(self, noise, context):
        """Pure noise -> clean latents in one evaluation, as an LCM step makes them."""
        eps = self.unet(noise, torch.full((len(noise),), self.timestep), context)
        return (noise - (1 - self.alpha) ** 0.5 * eps) / self.alpha**0.5


def difference(z, target, delta=0.1):
    """Between L1, which leaves edges sharp, and L2 near zero."""
    return ((z - target).square() + delta**2).sqrt().mean() - delta


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--state", help="goes on from it where it exists, and writes it")
    parser.add_argument("--log", default="distill.jsonl")
    parser.add_argument("--samples", type=int, default=100000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rank", type=int, default=7)
    parser.add_argument("--conv-rank", type=int, default=5)
    parser.add_argument("--timestep", type=int, default=800)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--average", type=float, default=0.995)
    parser.add_argument("--seed", type=int, default=91)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    models = load(args.model, {"unet": UNetModel(), "text": CLIPTextModel()})
    unet, text, rng = models["unet"], models["text"].requires_grad_(False), np.random.default_rng(args.seed)
    parameters = add_adapter(unet, args.rank, args.conv_rank, biases=True)
    print(sum(p.numel() for p in parameters), "parameters", flush=True)
    student, clock, log = Student(unet, args.timestep), Clock(0, samples=args.samples), Log(args.log)
    groups = [{"params": parameters}]
    loop = Loop(parameters, groups, clock, log, rate=args.rate, warmup=30, average=args.average, minutes=3, every=25, weight_decay=0)
    if args.state and os.path.exists(args.state):
        loop.resume(torch.load(args.state))
    data, read, order = torch.load(args.pairs), time.time(), []

    @torch.no_grad()
    def validate():
        part = {k: v[:HELD_BACK].float() if k != "ids" else v[:HELD_BACK].long() for k, v in data.items()}
        error = student(part["noise"], text(part["ids"])) - part["z"]
        return (error.square().mean() / part["z"].square().mean()).item()

    def save(_):
        log(step=loop.step, minutes=clock.minutes, seen=clock.seen, pairs=len(data["ids"]), relative=validate())
        title = dict(ss_network_dim=args.rank, modelspec_title="Tiny Scenes, one step", timestep=args.timestep)
        write(args.out, lambda path: save_adapter(path, unet, **title))
        if args.state:
            loop.average.swap()
            write(args.state, lambda path: torch.save(loop.state(), path))
            loop.average.swap()

    def loss():
        nonlocal data, read, order
        if time.time() - read > 60:
            data, read = torch.load(args.pairs), time.time()
        if len(order) < args.batch:
            order = list(rng.permutation(np.arange(HELD_BACK, len(data["ids"]))))
        index, order = order[: args.batch], order[args.batch :]
        ids, noise, z = data["ids"][index].long(), data["noise"][index].float(), data["z"][index].float()
        with torch.no_grad():
            context = text(ids)
        return difference(student(noise, context), z), args.batch

    log(step=loop.step, relative=validate())
    loop.run(loss, save)


if __name__ == "__main__":
    main()
