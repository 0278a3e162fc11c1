"""Renders the training pictures: python -m training.make_data --out DIR --count N --seed S"""
import argparse
import pickle
import time

import numpy as np

from .render import render
from .scene import Sampler


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, help="writes OUT.npy (count, size, size, 3) and OUT.pkl (the scenes)")
    parser.add_argument("--count", type=int, default=40000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", help="of all scenes, such as 'free'; otherwise as the captions need them")
    args = parser.parse_args()
    sampler, start, scenes = Sampler(np.random.default_rng(args.seed)), time.time(), []
    images = np.lib.format.open_memmap(args.out + ".npy", "w+", np.uint8, (args.count, args.size, args.size, 3))
    for i in range(args.count):
        scenes.append(sampler.scene(args.kind))
        images[i] = render(scenes[-1], args.size)
    with open(args.out + ".pkl", "wb") as f:
        pickle.dump(scenes, f)
    print(f"{args.count} pictures in {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
