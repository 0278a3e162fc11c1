"""Evaluates a model on the held-out captions: python -m training.evaluate --model FILE.safetensors --scale .65

Prints the judge's shares and writes a contact sheet of labelled pictures and, on request, every verdict.
"""
import argparse
import json
import pathlib
import time

import numpy as np
import torch
from PIL import Image, ImageDraw

from .checkpoint import load
from .diffusion import SAMPLERS, generate
from .judge import judge, summary
from .models.autoencoder import to_images
from .tokenizer import Tokenizer

HERE = pathlib.Path(__file__).parent
DEMO = """a red circle on a blue background
a small yellow star in the night sky
a big green square on white
a pink heart over the sea at sunset
a white moon over the ocean at night
an orange triangle on the grass
a purple diamond on the beach
a black ring on a snowy field
a red circle left of a blue square on a green background
a blue square left of a red circle on a green background
a small red circle above a large blue square on a green background
a red triangle on top of a yellow square on the grass
a white star inside a large purple circle
three yellow stars in the night sky
two small red hearts on a pink background
a red ball, a green star and a blue ring on a white background
a brown cross on a yellow wall
a green heart under a white triangle on a black background
a big orange star on a sunny day
a yellow circle over the desert at dusk
a tiny blue diamond in the top left corner on a white background
a large pink ring on a purple background
a yellow moon above a red box on snow at night
a green triangle inside a big red heart on a white wall""".split("\n")


def sheet(images, captions, path, columns=8, side=128):
    """A contact sheet with captions below the pictures."""
    rows = (len(images) + columns - 1) // columns
    page = Image.new("RGB", (columns * (side + 6), rows * (side + 40)), "white")
    draw = ImageDraw.Draw(page)
    for i, (image, text) in enumerate(zip(images, captions)):
        x, y = i % columns * (side + 6), i // columns * (side + 40)
        page.paste(Image.fromarray(image).resize((side, side), Image.BICUBIC), (x, y))
        lines = [""]
        for word in text.split():
            if len(lines[-1]) + len(word) > 21:
                lines.append("")
            lines[-1] += " " + word
        for j, line in enumerate(lines[:3]):
            draw.text((x, y + side + 1 + j * 12), line, fill="black")
    page.save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--scale", type=float, required=True)
    parser.add_argument("--count", type=int, default=300, help="of the held-out captions")
    parser.add_argument("--sampler", choices=SAMPLERS, default="ddim")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--demo", help="write the demonstration sheet here")
    parser.add_argument("--sheet", help="write the first 48 judged pictures here")
    parser.add_argument("--json", help="write every verdict here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    models, tokenizer = load(args.model), Tokenizer()
    entries = json.loads((HERE / "held_out.json").read_text())["prompts"][: args.count]
    options = dict(scale=args.scale, sampler=args.sampler, steps=args.steps, guidance=args.guidance)
    start = time.time()
    images = to_images(generate(models, tokenizer, [e["prompt"] for e in entries], seed=args.seed, **options))
    verdicts = [judge(e, image) for e, image in zip(entries, images)]
    result = summary(entries, verdicts)
    print(json.dumps({**result, "seconds": round((time.time() - start) / len(entries), 3)}))
    if args.json:
        rows = [{**e, "verdict": v} for e, v in zip(entries, verdicts)]
        pathlib.Path(args.json).write_text(json.dumps({"summary": result, "prompts": rows}, indent=1))
    if args.sheet:
        marked = [("ok" if v["right"] else "X " + "/".join(k for k in v if not v[k])) + " " + e["prompt"] for e, v in zip(entries, verdicts)]
        worst = sorted(range(len(entries)), key=lambda i: verdicts[i]["right"])[:48]
        sheet([images[i] for i in worst], [marked[i] for i in worst], args.sheet)
    if args.demo:
        sheet(to_images(generate(models, tokenizer, DEMO, seed=7, **options)), DEMO, args.demo)


if __name__ == "__main__":
    main()
