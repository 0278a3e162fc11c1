"""Encodes pictures into latents, once: python -m training.encode --vae FILE --data A.npy B.npy --out latents.npy

Writes float16 latents (N, 4, h, w), already times the scale factor 1 / std (LDM paper, appendix G: unit variance),
and the factor in OUT.scale. ``--scale`` keeps a factor that is in use.
"""
import argparse

import numpy as np
import torch

from .checkpoint import load
from .models import AutoencoderKL
from .models.autoencoder import to_tensor


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--vae", required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--scale", type=float)
    args = parser.parse_args()
    vae = AutoencoderKL()
    if args.vae.endswith(".safetensors"):
        load(args.vae, {"vae": vae})
    else:
        vae.load_state_dict(torch.load(args.vae))
    latents = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for name in args.data:
            images = np.load(name, mmap_mode="r")
            for i in range(0, len(images), 64):
                mean, _ = vae.encode(to_tensor(images[i : i + 64]))
                latents.append(mean.float().numpy())
    z = np.concatenate(latents)
    scale = args.scale or 1 / float(z.std())
    np.save(args.out, (z * scale).astype(np.float16))
    with open(args.out + ".scale", "w") as f:
        f.write(str(scale))
    print(z.shape, "std", z.std(), "mean", z.mean((0, 2, 3)), "scale factor", scale)


if __name__ == "__main__":
    main()
