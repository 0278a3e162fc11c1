"""Trains a small SDXL on the latents of the frozen first stage, from the embedded model's weights (sdxl.py).

python -m training.train_sdxl data --model models/tiny-scenes.gguf --scale .650038 --count 6000 --out sdxl-data.pt
python -m training.train_sdxl base --model models/tiny-scenes.gguf --data sdxl-data.pt --out base.pt
python -m training.train_sdxl refiner --model models/tiny-scenes.gguf --data sdxl-data.pt --out refiner.pt
python -m training.train_sdxl koala --model models/tiny-scenes.gguf --data sdxl-data.pt --teacher base.pt --out koala.pt

The base model is trained at all noise levels, by how much an error costs in the picture (train.py), so rarely at low ones; the
refiner at low ones alone. Students (koala, tiny) have fewer blocks and follow the base model's noise estimate and what its blocks
on the way up give, as well as the noise itself.
"""
import argparse

import numpy as np
import torch

from .captions import caption
from .checkpoint import load
from .diffusion import STEPS, add_noise, alphas_cumprod
from .loop import Clock, Log, Loop, parameter_groups, write
from .models.autoencoder import to_tensor
from .pretrain_text import SHORT
from .scene import Sampler
from .sdxl import CUTOFF, NETWORKS, STUDENTS, Features, Towers, build, embed_numbers, from_teacher, networks, picture, refiner_numbers
from .tokenizer import Tokenizer
from .train import NoiseLevels


def make_data(args):
    """Pictures with their numbers, as latents, in one file."""
    rng, vae = np.random.default_rng(args.seed), load(args.model)["vae"]
    sampler, scenes, numbers, latents, images = Sampler(rng), [], [], [], []
    for i in range(args.count):
        scenes.append(sampler.scene())
        image, told = picture(scenes[-1], rng)
        images.append(image)
        numbers.append(told)
        if len(images) == 50 or i == args.count - 1:
            with torch.no_grad():
                latents.append(vae.encode(to_tensor(np.stack(images)))[0] * args.scale)
            images = []
    torch.save({"latents": torch.cat(latents).half(), "scenes": scenes, "numbers": numbers, "scale": args.scale}, args.out)
    print(args.count, "pictures")


class Data:
    """Batches of latents with token ids and numbers, captions said anew every time; ``crops``: pictures whose crop does not begin at the border come three
    times as often."""

    def __init__(self, path, seed, refiner, crops=False):
        data = torch.load(path, weights_only=False)
        self.latents, self.scenes, self.numbers, self.scale = data["latents"].float(), data["scenes"], data["numbers"], data["scale"]
        self.rng, self.tokenizer, self.refiner, self.crops, self.order = np.random.default_rng(seed), Tokenizer(), refiner, crops, []
        self.kept = min(256, len(self.scenes) // 4)

    def get(self, index, rng, drop=0.0):
        """-> latents, token ids, whether a caption is given, numbers"""
        named = rng.random(len(index)) >= drop
        ids = [self.tokenizer(caption(self.scenes[i], rng) if say else "") for i, say in zip(index, named)]
        numbers = [self.numbers[i] for i in index]
        if self.refiner:
            numbers = [refiner_numbers(n, rng) for n in numbers]
        return self.latents[index], torch.tensor(ids), torch.from_numpy(named), embed_numbers(numbers)

    def batch(self, size):
        while len(self.order) < size:
            often = [i for i in range(len(self.scenes) - self.kept) for _ in range(3 if self.crops and max(self.numbers[i][2:4]) > 0 else 1)]
            self.order += list(self.rng.permutation(often))
        index, self.order = self.order[:size], self.order[size:]
        return self.get(index, self.rng, drop=0.1)

    def validation(self):
        return self.get(list(range(len(self.scenes) - self.kept, len(self.scenes))), np.random.default_rng(9))


class Predictor:
    """A network with the frozen towers before it."""

    def __init__(self, unet, towers, base):
        self.unet, self.towers, self.base = unet, towers, base

    def __call__(self, x, t, ids, named, numbers):
        with torch.autocast("cpu", torch.bfloat16):
            context, pooled = self.towers(ids, self.base, named)
            return self.unet(x, t, context, torch.cat([pooled, numbers], 1)).float()


def validate(predict, given, alphas, most):
    """The noise prediction error on held-back pictures, the same noise every time, and that of the levels of the refiner."""
    z, ids, named, numbers = given
    t = ((torch.arange(len(z)) + 0.5) * most / len(z)).long()
    noise, errors = torch.randn(z.shape, generator=torch.Generator().manual_seed(3)), []
    noisy = add_noise(z, noise, t, alphas)
    with torch.no_grad():
        for part in torch.arange(len(z)).split(64):
            eps = predict(noisy[part], t[part], ids[part], named[part], numbers[part])
            errors.append((eps - noise[part]).square().mean((1, 2, 3)))
    error = torch.cat(errors)
    low = error[t < CUTOFF]
    return {"val": error.mean().item(), "val_low": low.mean().item()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("data", *NETWORKS))
    parser.add_argument("--model", required=True, help="the embedded model")
    parser.add_argument("--data")
    parser.add_argument("--init", help="a state of the same network, written here")
    parser.add_argument("--teacher", help="koala, tiny: a state of the base model, written here")
    parser.add_argument("--out", required=True)
    parser.add_argument("--log", default="sdxl.jsonl")
    parser.add_argument("--scale", type=float, default=0.650038, help="data: the factor of the latents")
    parser.add_argument("--count", type=int, default=6000)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--samples", type=int, help="a budget of samples in place of one of time")
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--flat", type=float, default=0.5, help="part of the budget before the rate goes down")
    parser.add_argument("--vector-rate", type=float, default=5.0, help="factor for the layers that read the vector")
    parser.add_argument("--features", type=float, default=0.05, help="koala, tiny: weight of what the blocks give")
    parser.add_argument("--average", type=float, default=0.99)
    parser.add_argument("--seed", type=int, default=61)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    if args.what == "data":
        return make_data(args)
    refiner = args.what == "refiner"
    init, data = load(args.model), Data(args.data, args.seed, refiner, crops=not refiner)
    towers, unet, teacher = Towers(init["text"]), networks(args.what, init), None
    if args.what in STUDENTS:
        old = build("base").requires_grad_(False)
        old.load_state_dict(torch.load(args.teacher)["unet"])
        from_teacher(unet, old)
        teacher = Predictor(old, towers, True)
        features, wanted_features = (Features(net, len(unet.output_blocks)) for net in (unet, old))
    if args.init:
        unet.load_state_dict(torch.load(args.init)["unet"])
    predict = Predictor(unet, towers, not refiner)
    new = torch.nn.ModuleList([unet.label_emb])  # begins with nothing to say, and has a long way to go
    groups, own = parameter_groups({"unet": unet}) + parameter_groups({"vector": new}, {"vector": args.vector_rate}), set(new.parameters())
    for group in groups[:2]:
        group["params"] = [p for p in group["params"] if p not in own]
    alphas, log, given = alphas_cumprod().float(), Log(args.log), data.validation()
    levels, most = NoiseLevels(alphas), CUTOFF if refiner else STEPS
    clock = Clock(args.minutes, samples=args.samples)
    loop = Loop(unet.parameters(), groups, clock, log, rate=args.rate, warmup=30, flat=args.flat, average=args.average, minutes=2)

    def loss():
        z, ids, named, numbers = data.batch(args.batch)
        if loop.step % 8 and clock.progress < 0.85:
            ids = ids[:, :SHORT]
        t, noise = torch.randint(CUTOFF, (args.batch,)) if refiner else levels.draw(args.batch), torch.randn_like(z)
        noisy = add_noise(z, noise, t, alphas)
        eps = predict(noisy, t, ids, named, numbers)
        error = (eps - noise).square().mean((1, 2, 3))
        if teacher:
            with torch.no_grad():
                wanted = teacher(noisy, t, ids, named, numbers)
            error = error + (eps - wanted).square().mean((1, 2, 3)) + args.features * features.difference(wanted_features)
        return error.mean() if refiner else (error * levels.weight[t]).mean(), args.batch

    def save(mean):
        log(step=loop.step, minutes=clock.minutes, seen=clock.seen, loss=mean, **validate(predict, given, alphas, most))
        write(args.out, lambda path: torch.save({"unet": unet.state_dict(), "scale": data.scale, "seen": clock.seen}, path))

    log(step=0, minutes=0.0, seen=0, **validate(predict, given, alphas, most))
    loop.run(loss, save)


if __name__ == "__main__":
    main()
