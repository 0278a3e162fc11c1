"""Teaches the text encoder what stands where, before (and apart from) the U-Net: see layout.py.

python -m training.pretrain_text --latents latents.npy --scenes A.pkl B.pkl --init model.safetensors --out text.pt
"""
import argparse
import os

import numpy as np
import torch

from .checkpoint import load
from .dataset import LatentData
from .layout import LayoutHead
from .loop import Average, Clock, Log, parameter_groups, set_rate
from .models import CLIPTextModel
from .threads import Threads

SHORT = 36  # no caption is longer; the encoder is causal, so cutting off padding changes nothing before it


@torch.no_grad()
def validate(text, head, data):
    z, ids, color, shape = data.validation()
    with torch.autocast("cpu", torch.bfloat16):
        _, parts, logits = head.loss(text(ids), color, shape, z)
    hit = (logits.argmax(-1) == color)[color > 0].float().mean()
    return dict(val_color=parts[0].item(), val_shape=parts[1].item(), val_latent=parts[2].item(), val_cells=hit.item())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", required=True)
    parser.add_argument("--scenes", nargs="+", required=True)
    parser.add_argument("--init", help="an SD 1.x file to start from")
    parser.add_argument("--resume", help="go on from a state written by this script")
    parser.add_argument("--out", required=True)
    parser.add_argument("--log", default="pretrain_text.jsonl")
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1.2e-3)
    parser.add_argument("--seed", type=int, default=21)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    threads, data = Threads(), LatentData(args.latents, args.scenes, args.seed)
    text, head = CLIPTextModel(), LayoutHead()
    if args.init:
        load(args.init, {"text": text})
    models = {"text": text, "head": head}
    if args.resume:
        state = torch.load(args.resume)
        for name, model in models.items():
            model.load_state_dict(state[name])
    optimizer = torch.optim.AdamW(parameter_groups(models), lr=args.rate, betas=(0.9, 0.99))
    parameters = [p for m in models.values() for p in m.parameters()]
    average, clock, log = Average(parameters, 0.995), Clock(args.minutes), Log(args.log)
    step, history, reported = 0, [], 0.0
    while clock.progress < 1:
        set_rate(optimizer, args.rate * clock.rate(step, warmup=50, flat=0.3))
        z, ids, color, shape = data.batch(args.batch, drop=0.02)
        if step % 8:
            ids = ids[:, :SHORT]
        with torch.autocast("cpu", torch.bfloat16):
            context = text(ids)
            loss, parts, _ = head.loss(context, color, shape, z)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update()
        threads.tick()
        step += 1
        history.append([p.item() for p in parts])
        if clock.minutes - reported > 0.5 or clock.progress >= 1:
            reported = clock.minutes
            mean = np.mean(history[-100:], 0)
            average.swap()
            log(step=step, minutes=clock.minutes, color=float(mean[0]), shape=float(mean[1]), latent=float(mean[2]), threads=torch.get_num_threads(), **validate(text, head, data))
            torch.save({"text": text.state_dict(), "head": head.state_dict()}, args.out + ".tmp")
            os.replace(args.out + ".tmp", args.out)
            average.swap()


if __name__ == "__main__":
    main()
