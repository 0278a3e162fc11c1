"""Makes the held-out evaluation set: python -m training.held_out

Writes ``held_out.json`` (150 captions of one object, 150 of two objects with a relation, each with what a judge must
find) and pictures of the first 24, drawn by the renderer, in ``ground_truth/NNN.png`` for checking a judge, with their
label maps in ``ground_truth/labels``. The seed is used nowhere else; the format is described in README.md.
"""
import argparse
import json
import pathlib

import numpy as np
from PIL import Image

from .captions import caption
from .labels import label_map
from .render import render
from .scene import CLASH, sample

SEED = 20_260_000
HERE = pathlib.Path(__file__).parent
ONE, TWO = (1, 0, 0, 0), (0, 1, 0, 0)


def expectation(scene, text):
    """What must be seen in a picture of the caption. Nothing is expected that the caption does not say."""
    objs = scene["objs"] if scene["kind"] == "one" else [scene["objs"][scene["a"]], scene["objs"][1 - scene["a"]]]
    result = {"prompt": text, "kind": scene["kind"], "objects": []}
    for o in objs:
        entry = {"color": o["color"], "shape": o["shape"]}
        if o["size"]:
            entry["size"] = o["size"]
        if scene["kind"] == "one" and scene["pos"] != "center":
            entry["position"] = scene["pos"]
        result["objects"].append(entry)
    if scene["kind"] == "two":
        result["relation"] = scene["rel"]
    result["background"] = None
    if scene["said"]:
        if scene["bg"] == "plain":
            result["background"] = {"color": scene["bgc"]}
        else:
            result["background"] = {"sky": scene["sky"]}
            if scene["ground"] != "none":
                result["background"]["ground"] = scene["ground"]
    return result


def fair(scene):
    """Two objects of one colour or shape that a relation could not tell apart are left out."""
    if scene["kind"] == "one":
        return True
    a, b = scene["objs"]
    return a["color"] != b["color"] and b["color"] not in CLASH[a["color"]]


def draw(rng, kinds, count, seen):
    while count:
        scene = sample(rng, kinds)
        text = caption(scene, rng)
        if fair(scene) and text not in seen:
            seen.add(text)
            count -= 1
            yield scene, text


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    parser.add_argument("--count", type=int, default=150, help="of each kind")
    parser.add_argument("--seed", type=int, default=SEED, help="other captions than the committed ones, that no judge was ever tried on")
    out = parser.parse_args()
    rng, seen = np.random.default_rng(out.seed), set()
    ones, twos = (list(draw(rng, kinds, out.count, seen)) for kinds in (ONE, TWO))
    pairs = [p for both in zip(ones, twos) for p in both]
    entries = [{"id": i, **expectation(scene, text)} for i, (scene, text) in enumerate(pairs)]
    lines = ",\n".join("    " + json.dumps(e) for e in entries)
    out.out.mkdir(parents=True, exist_ok=True)
    (out.out / "held_out.json").write_text(f'{{\n  "seed": {out.seed},\n  "prompts": [\n{lines}\n  ]\n}}\n')
    folder = out.out / "ground_truth"
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    for i, (scene, _) in enumerate(pairs[:24]):
        Image.fromarray(render(scene)).save(folder / f"{i:03d}.png")
        Image.fromarray(label_map(scene)).save(folder / "labels" / f"{i:03d}.png")


if __name__ == "__main__":
    main()
