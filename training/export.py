"""Writes the model as one SD 1.x file: python -m training.export --state state.pt --vae vae.pt --out FOLDER

FOLDER gets tiny-scenes.safetensors (float16 by default), tokenizer/ and card.json. The averaged weights are taken.
"""
import argparse
import json
import os
import pathlib
import shutil

import torch

from .checkpoint import build, load, save
from .layout import LayoutHead
from .tokenizer import FOLDER


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--state", help="of train.py; without it --base is used for U-Net and text encoder")
    parser.add_argument("--vae", help="state of first_stage.py, or an SD 1.x file")
    parser.add_argument("--base", help="an SD 1.x file for whatever is not given")
    parser.add_argument("--scale", type=float, help="scale factor, where no state tells it")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--card", type=pathlib.Path, help="JSON whose entries go into card.json")
    parser.add_argument("--float32", action="store_true")
    args = parser.parse_args()
    models, scale = build(), args.scale
    if args.base:
        load(args.base, models)
    if args.state:
        state = torch.load(args.state)
        trained = [p for m in (models["unet"], models["text"], LayoutHead()) for p in m.parameters()]
        for p, value in zip(trained, state["average"]):
            p.data.copy_(value)
        scale = state["scale"]
    if args.vae and args.vae.endswith(".safetensors"):
        load(args.vae, {"vae": models["vae"]})
    elif args.vae:
        models["vae"].load_state_dict(torch.load(args.vae))
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "tiny-scenes.safetensors"
    save(file, models, torch.float32 if args.float32 else torch.float16, {"scale_factor": f"{scale:.6f}"})
    (args.out / "tokenizer").mkdir(exist_ok=True)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(FOLDER / name, args.out / "tokenizer" / name)
    card = {
        "scale_factor": round(scale, 6),
        "size": 64,
        "downsampling": 4,
        "schedule": {"type": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps": 1000, "prediction": "epsilon"},
        "caption_dropout": 0.1,
        "parameters": {name: sum(p.numel() for p in m.parameters()) for name, m in models.items()},
    }
    if args.card:
        card.update(json.loads(args.card.read_text()))
    temporary = args.out / "card.json.tmp"
    temporary.write_text(json.dumps(card, indent=2) + "\n")
    os.replace(temporary, args.out / "card.json")


if __name__ == "__main__":
    main()
