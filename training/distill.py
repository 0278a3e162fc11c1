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
from .loop import Average, Clock, Log
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
    optimizer, average = torch.optim.AdamW(parameters, lr=args.rate, betas=(0.9, 0.99), weight_decay=0), Average(parameters, args.average)
    student, clock, log, step = Student(unet, args.timestep), Clock(0, samples=args.samples), Log(args.log), 0
    if args.state and os.path.exists(args.state):
        state = torch.load(args.state)
        for p, v in zip(parameters, state["parameters"]):
            p.data.copy_(v)
        optimizer.load_state_dict(state["optimizer"])
        average.values, average.steps, clock.seen, step = state["average"], state["average_steps"], state["seen"], state["step"]
    data, read, saved, order, losses = torch.load(args.pairs), time.time(), time.time(), [], []

    @torch.no_grad()
    def validate():
        part = {k: v[:HELD_BACK].float() if k != "ids" else v[:HELD_BACK].long() for k, v in data.items()}
        error = student(part["noise"], text(part["ids"])) - part["z"]
        return (error.square().mean() / part["z"].square().mean()).item()

    def save():
        average.swap()
        log(step=step, minutes=clock.minutes, seen=clock.seen, pairs=len(data["ids"]), relative=validate())
        save_adapter(args.out + ".tmp", unet, ss_network_dim=args.rank, modelspec_title="Tiny Scenes, one step", timestep=args.timestep)
        os.replace(args.out + ".tmp", args.out)
        average.swap()
        if args.state:
            state = {"parameters": [p.detach() for p in parameters], "optimizer": optimizer.state_dict(), "average": average.values}
            torch.save({**state, "average_steps": average.steps, "seen": clock.seen, "step": step}, args.state + ".tmp")
            os.replace(args.state + ".tmp", args.state)

    log(step=step, relative=validate())
    while clock.progress < 1:
        optimizer.param_groups[0]["lr"] = args.rate * clock.rate(step, 30)
        if len(order) < args.batch:
            order = list(rng.permutation(np.arange(HELD_BACK, len(data["ids"]))))
        index, order = order[: args.batch], order[args.batch :]
        ids, noise, z = data["ids"][index].long(), data["noise"][index].float(), data["z"][index].float()
        with torch.no_grad():
            context = text(ids)
        loss = difference(student(noise, context), z)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update()
        step += 1
        clock.seen += args.batch
        losses.append(loss.item())
        if step % 25 == 0:
            log(step=step, minutes=clock.minutes, seen=clock.seen, loss=float(np.mean(losses[-25:])))
        if time.time() - read > 60:
            data, read = torch.load(args.pairs), time.time()
        if time.time() - saved > 180:
            save()
            saved = time.time()
    save()


if __name__ == "__main__":
    main()
