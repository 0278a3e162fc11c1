"""What the model draws from a caption and noise: python -m training.pairs --model models/tiny-scenes.gguf --count 6000 --out pairs.pt

The end points of guided sampling (DPM-Solver++ 2M), for training a student that gets there in one step. Can be ended and
called again: it goes on where it was.
"""
import argparse
import os
import time

import numpy as np
import torch

from .captions import caption
from .checkpoint import load
from .diffusion import Guided, dpm_solver_2m
from .models import CLIPTextModel, UNetModel
from .scene import Sampler
from .tokenizer import Tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--guidance", type=float, default=4)
    parser.add_argument("--seed", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    models = load(args.model, {"unet": UNetModel(), "text": CLIPTextModel()})
    tokenizer = Tokenizer()
    parts, start = [], time.time()
    if os.path.exists(args.out):
        parts = [torch.load(args.out)]
    done = sum(len(p["ids"]) for p in parts)
    empty = torch.tensor([tokenizer("")])
    while done < args.count:
        rng = np.random.default_rng(args.seed + done)
        sampler = Sampler(rng)
        ids = torch.tensor([tokenizer(caption(sampler.scene(), rng)) for _ in range(args.batch)])
        noise = torch.randn((args.batch, 4, 16, 16), generator=torch.Generator().manual_seed(args.seed + done))
        with torch.no_grad():
            context, none = models["text"](ids), models["text"](empty).expand(args.batch, -1, -1)
            z = dpm_solver_2m(Guided(models["unet"], context, none, args.guidance, bfloat16=False), noise, args.steps)
        parts.append({"ids": ids.short(), "noise": noise.half(), "z": z.half()})
        done += args.batch
        if done % 200 == 0 or done >= args.count:
            parts = [{k: torch.cat([p[k] for p in parts]) for k in parts[0]}]
            torch.save(parts[0], args.out + ".tmp")
            os.replace(args.out + ".tmp", args.out)
            print(done, f"{time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
