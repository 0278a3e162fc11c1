"""Trains one of the paper's other systems (systems.py) on the latents of the frozen first stage, from a U-Net that is there.

python -m training.train_system layout --data A C --vae vae.pt --init model.safetensors --out layout.pt

A and C stand for A.pkl (scenes), A.npy (pictures) and A.latents.npy (encode.py). ``--init`` is an SD 1.x file, a state of
train.py (its averaged weights are taken) or one written here: what fits is taken over, new input channels begin at zero,
and where the new U-Net has no context, self-attention is folded out of the old one's transformers.
"""
import argparse
import pickle

import numpy as np
import torch
from safetensors.torch import load_file

from .checkpoint import PREFIXES
from .diffusion import STEPS, add_noise, alphas_cumprod
from .layout import LayoutHead, layout_targets
from .loop import Clock, Log, Loop, parameter_groups, set_rate, write
from .models import AutoencoderKL, CLIPTextModel, UNetModel
from .systems import CLASSES, SYSTEMS, Prompted
from .threads import Threads
from .tokenizer import Tokenizer
from .train import NoiseLevels, freeze_outer

HELD_BACK = 256  # pictures at the end, for validation; fewer where there are few


class WorldData:
    """Latents, pictures and scenes of several renderings, those that a system can use."""

    def __init__(self, names, usable):
        self.latents = np.concatenate([np.load(n + ".latents.npy") for n in names])
        self.images = [np.load(n + ".npy", mmap_mode="r") for n in names]
        self.scenes = [s for n in names for s in pickle.load(open(n + ".pkl", "rb"))]
        self.starts = np.cumsum([0] + [len(i) for i in self.images])
        self.scale = float(open(names[0] + ".latents.npy.scale").read())
        assert len(self.scenes) == len(self.latents) == self.starts[-1]
        fitting = [i for i, s in enumerate(self.scenes) if usable(s)]
        kept = min(HELD_BACK, len(fitting) // 4)
        self.order, self.pool, self.validation = [], fitting[:-kept], fitting[-kept:]

    def image(self, i):
        part = int(np.searchsorted(self.starts, i, "right")) - 1
        return self.images[part][i - self.starts[part]]

    def get(self, index):
        """-> latents (B, 4, 16, 16), scenes, pictures (B, 64, 64, 3)"""
        z = torch.from_numpy(self.latents[index].astype(np.float32))
        return z, [self.scenes[i] for i in index], np.stack([self.image(i) for i in index])

    def batch(self, size, rng):
        if len(self.order) < size:
            self.order = list(rng.permutation(self.pool))
        index, self.order = self.order[:size], self.order[size:]
        return self.get(index)


def fold(old):
    """An AttentionBlock close to the self-attention of a SpatialTransformer: the linear maps around it are multiplied out, its
    layer norm divides by what it mostly would; feed-forward and cross-attention have no counterpart."""
    part = {k.removeprefix("transformer_blocks.0."): v for k, v in old.items()}
    scale, shift = part["norm.weight"], part["norm.bias"]
    inner, bias = part["proj_in.weight"].flatten(1), part["proj_in.bias"]
    inner, bias = inner - inner.mean(0), bias - bias.mean()
    spread = ((inner * scale).square().sum(1) + (inner @ shift + bias).square()).mean().sqrt()
    qkv = torch.stack([part[f"attn1.to_{k}.weight"].unflatten(0, (-1, 32)) for k in "qkv"], 1).flatten(0, 2)  # heads of 32
    out = part["proj_out.weight"].flatten(1)
    return {
        "norm.weight": scale, "norm.bias": shift,
        "qkv.weight": (qkv * part["norm1.weight"] @ inner / spread)[..., None],
        "qkv.bias": qkv @ (part["norm1.weight"] * bias / spread + part["norm1.bias"]),
        "proj_out.weight": (out @ part["attn1.to_out.0.weight"])[..., None],
        "proj_out.bias": out @ part["attn1.to_out.0.bias"] + part["proj_out.bias"],
    }  # fmt: skip


def adopt(unet, old):
    """Fills a U-Net from the parameters of another one."""
    new = unet.state_dict()
    for name in [n.removesuffix("qkv.weight") for n in new if n.endswith("qkv.weight")]:
        if name + "qkv.weight" not in old:
            folded = fold({k.removeprefix(name): v for k, v in old.items() if k.startswith(name)})
            old = {**old, **{name + k: v for k, v in folded.items()}}
    first = "input_blocks.0.0.weight"
    if new[first].shape != old[first].shape:
        wide = torch.zeros_like(new[first])
        wide[:, :4] = old[first][:, :4]
        old = {**old, first: wide}
    fresh = {k: v for k, v in new.items() if k.startswith("label_emb")}
    unet.load_state_dict({**fresh, **{k: old[k] for k in new if k in old}})


def read_init(path):
    """-> the U-Net's parameters, and those of the text encoder where the file has one."""
    if path.endswith(".safetensors"):
        tensors = load_file(path)
        parts = ({k.removeprefix(PREFIXES[n]): v.float() for k, v in tensors.items() if k.startswith(PREFIXES[n])} for n in ("unet", "text"))
        unet, text = parts
        return unet, {k: v for k, v in text.items() if "position_ids" not in k}
    state = torch.load(path)
    if "text" not in state:
        return state["unet"], None
    names = [[f"{n}.{k}" for k, _ in m.named_parameters()] for n, m in (("unet", UNetModel()), ("text", CLIPTextModel()))]
    averaged = dict(zip(names[0] + names[1], state["average"]))
    return ({k.removeprefix(p): v for k, v in averaged.items() if k.startswith(p)} for p in ("unet.", "text."))


@torch.no_grad()
def class_tokens(text):
    """A first token for every class, out of the text encoder: what its caption's padding says; the last one is the empty caption's."""
    encoder, tokenizer = CLIPTextModel(), Tokenizer()
    encoder.load_state_dict(text)
    ids = torch.tensor([tokenizer("a " + name) for name in CLASSES] + [tokenizer("")])
    return encoder(ids)[:, 12:36].mean(1)


def pretrain_layout(system, data, head, samples, log, threads, rate=1.5e-3, batch=96):
    """Teaches the encoder of boxes to say where what stands, to the head that the text encoder learnt with (layout.py) and that
    stays as it is: so its tokens begin as ones that the U-Net understands."""
    head.requires_grad_(False)
    optimizer = torch.optim.AdamW(parameter_groups({"conditioner": system.conditioner}), lr=rate, betas=(0.9, 0.99))
    clock, history = Clock(0, samples=samples), []
    while clock.progress < 1:
        set_rate(optimizer, rate * clock.rate(len(history), warmup=50, flat=0.4))
        z, scenes, _ = data.batch(batch, system.rng)
        color, shape = (torch.from_numpy(np.stack(a)).flatten(1) for a in zip(*(layout_targets(s) for s in scenes)))
        with torch.autocast("cpu", torch.bfloat16):
            loss, parts, _ = head.loss(system.condition(system.draw(scenes, None))[0], color, shape, z)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(system.conditioner.parameters(), 1.0)
        optimizer.step()
        threads.tick()
        clock.seen += batch
        history.append([p.item() for p in parts])
        if len(history) % 50 == 0 or clock.progress >= 1:
            mean = np.mean(history[-50:], 0)
            log(pretrained=clock.seen, minutes=clock.minutes, color=float(mean[0]), shape=float(mean[1]), latent=float(mean[2]))


class Validation:
    """The noise prediction error on held-back pictures, the same noise and inputs every time."""

    def __init__(self, system, data, alphas):
        self.system = system
        self.z, scenes, images = data.get(data.validation)
        self.inputs, n = system.draw(scenes, images, drop=False), len(self.z)
        self.t = ((torch.arange(n) + 0.5) * STEPS / n).long()
        self.noise = torch.randn(self.z.shape, generator=torch.Generator().manual_seed(3))
        self.noisy = add_noise(self.z, self.noise, self.t, alphas)

    @torch.no_grad()
    def __call__(self, unet):
        errors = []
        for part in torch.arange(len(self.z)).split(64):
            eps = predict(unet, self.system, self.noisy[part], self.t[part], take(self.inputs, part))
            errors.append((eps.float() - self.noise[part]).square().mean((1, 2, 3)))
        quarters = torch.cat(errors).chunk(4)
        return {"val": torch.cat(errors).mean().item(), **{f"val_q{i}": q.mean().item() for i, q in enumerate(quarters)}}


def take(inputs, index):
    """Some of a batch of inputs."""
    return None if inputs is None else tuple(i[index] for i in inputs) if isinstance(inputs, tuple) else inputs[index]


def predict(unet, system, x, t, inputs):
    with torch.autocast("cpu", torch.bfloat16):
        context, concat, level = system.condition(inputs)
        return unet(x if concat is None else torch.cat([x, concat], 1), t, context, level)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--vae", help="state of first_stage.py, for inpainting")
    parser.add_argument("--init", required=True)
    parser.add_argument("--resume", action="store_true", help="--init is of this system: its conditioner is taken over, too")
    parser.add_argument("--pretrain", type=int, default=0, help="layout: samples with the head of a state of train.py before the U-Net")
    parser.add_argument("--out", required=True)
    parser.add_argument("--log", default="system.jsonl")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--samples", type=int, help="a budget of samples in place of one of time")
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--conditioner-rate", type=float, default=2.0, help="factor for the conditioner")
    parser.add_argument("--warmup", type=int, default=30)
    parser.add_argument("--flat", type=float, default=0.5, help="part of the time before the rate goes down")
    parser.add_argument("--inner", action="store_true", help="train the U-Net's coarser levels only; a third cheaper")
    parser.add_argument("--average", type=float, default=0.995)
    parser.add_argument("--seed", type=int, default=41)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rng, threads, vae = np.random.default_rng(args.seed), Threads(), AutoencoderKL()
    if args.vae:
        vae.load_state_dict(torch.load(args.vae))
    system = SYSTEMS[args.system](rng, vae.requires_grad_(False))
    data, unet = WorldData(args.data, system.usable), UNetModel(context=system.context, extra=system.extra, levels=system.levels)
    system.scale = data.scale
    old, text = read_init(args.init)
    adopt(unet, old)
    if args.resume:
        if system.conditioner:
            system.conditioner.load_state_dict(torch.load(args.init)["conditioner"])
    elif args.system == "class":
        system.conditioner.embedding.weight.data.copy_(class_tokens(text))
    elif isinstance(system, Prompted):
        system.conditioner.load_state_dict(text)
    alphas, log = alphas_cumprod().float(), Log(args.log)
    if args.pretrain:
        head = LayoutHead()
        head.load_state_dict(torch.load(args.init)["head"])
        pretrain_layout(system, data, head, args.pretrain, log, threads)
    if args.inner:
        freeze_outer(unet)
    models = {"unet": unet, **({"conditioner": system.conditioner} if system.conditioner else {})}
    parameters = [p for m in models.values() for p in m.parameters()]
    groups = parameter_groups(models, {"conditioner": args.conditioner_rate})
    if system.extra:  # the new input channels have a long way to go from zero
        first = unet.input_blocks[0][0].weight
        groups[0]["params"] = [p for p in groups[0]["params"] if p is not first]
        groups.append({"params": [first], "weight_decay": 0.0, "factor": 5.0})
    levels, validation, clock = NoiseLevels(alphas), Validation(system, data, alphas), Clock(args.minutes, samples=args.samples)
    times = dict(warmup=args.warmup, flat=args.flat, minutes=3, tick=threads.tick)
    loop = Loop(parameters, groups, clock, log, rate=args.rate, average=args.average, **times)

    def loss():
        z, scenes, images = data.batch(args.batch, rng)
        inputs, t, noise = system.draw(scenes, images), levels.draw(args.batch), torch.randn_like(z)
        eps = predict(unet, system, add_noise(z, noise, t, alphas), t, inputs)
        error = (eps.float() - noise).square().mean((1, 2, 3))
        return (error * levels.weight[t]).mean(), args.batch

    def save(mean):
        log(step=loop.step, minutes=clock.minutes, seen=clock.seen, loss=mean, **validation(unet), threads=torch.get_num_threads())
        state = {**{n: m.state_dict() for n, m in models.items()}, "scale": data.scale, "seen": clock.seen}
        write(args.out, lambda path: torch.save(state, path))

    log(step=0, minutes=0.0, seen=0, **validation(unet))
    loop.run(loss, save)


if __name__ == "__main__":
    main()
