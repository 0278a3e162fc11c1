#!/usr/bin/env python3
"""PyTorch's side of scripts/gpu-check.sh: the same networks and kernels on the same GPU.

    gpu-baseline.py export FILE            weights, inputs and float32 outputs of Stable Diffusion 1.5's U-Net and decoder, random weights
    gpu-baseline.py kernels BENCH          times of the kernels that BENCH, a report of gpu_bench, lists; JSON on stdout
    gpu-baseline.py networks [eager|compiled]   a guided step and a decode in bfloat16, channels last; JSON on stdout

Needs torch with CUDA and the networks of training/models. --tiny: small sizes, on the CPU where there is no GPU, to try the script itself.
"""
import json
import math
import os
import statistics
import sys

import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "training"))
from models import autoencoder, unet  # noqa: E402

TINY = "--tiny" in sys.argv
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
torch.set_grad_enabled(False)


def attend(self, x, context=None):
    """The module's attention through the framework's fused kernel, the fastest it has."""
    context = x if context is None else context
    q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.to_q(x), self.to_k(context), self.to_v(context)))
    return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def attend_pixels(self, x):
    h = self.norm(x)
    q, k, v = (f(h).flatten(2).transpose(1, 2)[:, None] for f in (self.q, self.k, self.v))
    return x + self.proj_out(F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).unflatten(2, x.shape[2:]))


def embedding(t, dim):
    half = dim // 2
    angles = t.float()[:, None] * torch.exp(-math.log(10000.0) * torch.arange(half, device=t.device) / half)
    return torch.cat([angles.cos(), angles.sin()], 1)


unet.CrossAttention.forward, autoencoder.AttnBlock.forward = attend, attend_pixels


def networks():
    torch.manual_seed(1)
    # The embedding of the timestep is an input here, as in the engine.
    unet.timestep_embedding = lambda t, dim: t
    if TINY:
        net, decoder = unet.UNetModel(32, (1, 2), 1, (1, 2), 24, 4), autoencoder.Decoder((32, 64), 1, 4)
    else:
        net, decoder = unet.UNetModel(320, (1, 2, 4, 4), 2, (1, 2, 4), 768, 8), autoencoder.Decoder((128, 256, 512, 512), 2, 4)
    for module in (net, decoder):
        for parameter in module.parameters():
            parameter.copy_(parameter.half().float())
    return net.eval().to(DEVICE), decoder.eval().to(DEVICE)


def inputs():
    torch.manual_seed(2)
    side, tokens, width, channels, latent = (8, 7, 24, 32, 4) if TINY else (64, 77, 768, 320, 64)
    timestep = embedding(torch.tensor([500.0, 500.0]), channels)
    return [x.to(DEVICE) for x in (torch.randn(2, 4, side, side), timestep, torch.randn(2, tokens, width), torch.randn(1, 4, latent, latent))]


def export(path):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    net, decoder = networks()
    x, timestep, context, latents = inputs()
    numbers = {"unet." + k: v.half() for k, v in net.state_dict().items()}
    numbers |= {"decoder." + k: v.half() for k, v in decoder.state_dict().items()}
    numbers |= {"unet.x": x, "unet.timestep": timestep, "unet.context": context, "unet.out": net(x, timestep, context)}
    numbers |= {"decoder.latents": latents, "decoder.image": decoder(latents)}
    lines, at = [], 0
    for name, value in numbers.items():
        kind = "f16" if value.dtype == torch.float16 else "f32"
        lines.append(" ".join([name, kind, str(at), *map(str, value.shape)]))
        at += value.numel() * value.element_size()
    with open(path, "wb") as file:
        file.write(("\n".join(lines) + "\n\n").encode())
        for value in numbers.values():
            file.write(value.contiguous().cpu().numpy().tobytes())


def timed(work, count, runs=7):
    """Milliseconds of one of `count` calls, the median of some runs."""
    if DEVICE == "cpu":
        work(0)
        return 0.0
    for i in range(3):
        work(i)
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, stream=stream):
        for i in range(count):
            work(i)
    times = []
    for _ in range(runs):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / count)
    return statistics.median(times[2:])


def kernel_work(k):
    """A call of the framework that does what entry `k` of the engine's report does; None where it has none."""
    def random(*shape):
        return [torch.randn(*shape, device=DEVICE, dtype=torch.bfloat16) for _ in range(4)]

    if k["kind"] == "conv":
        x = [v.to(memory_format=torch.channels_last) for v in random(k["n"], k["in"], k["height"], k["width"])]
        w = torch.randn(k["out"], k["in"], k["kernel"], k["kernel"], device=DEVICE, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
        bias = torch.randn(k["out"], device=DEVICE, dtype=torch.bfloat16)

        def conv(i):
            v = F.interpolate(x[i % 4], scale_factor=2.0, mode="nearest") if k["upsample"] else x[i % 4]
            return F.conv2d(v, w, bias, k["stride"], k["kernel"] // 2)

        return conv if k["weights"] == "bf16" else None
    if k["kind"] in ("linear", "geglu"):
        x, rows = random(k["n"] * k["height"] * k["width"], k["in"]), k["out"] * (2 if k["kind"] == "geglu" else 1)
        w, bias = torch.randn(rows, k["in"], device=DEVICE, dtype=torch.bfloat16), torch.randn(rows, device=DEVICE, dtype=torch.bfloat16)

        def linear(i):
            y = F.linear(x[i % 4], w, bias)
            if k["kind"] == "linear":
                return y
            value, gate = y.chunk(2, -1)
            return value * F.gelu(gate)

        return linear if k["weights"] == "bf16" else None
    if k["kind"] == "attention":
        q, keys, values = (random(k["n"], k["heads"], k[length], k["dim"]) for length in ("queries", "keys", "keys"))
        return lambda i: F.scaled_dot_product_attention(q[i % 4], keys[i % 4], values[i % 4])
    if k["kind"] == "group_norm":
        side = math.isqrt(k["pixels"])
        x = [v.to(memory_format=torch.channels_last) for v in random(k["n"], k["channels"], side, side)]
        w = torch.ones(k["channels"], device=DEVICE, dtype=torch.bfloat16)
        return lambda i: F.silu(F.group_norm(x[i % 4], 32, w, w))
    return None


def kernels(report):
    with open(report) as file:
        listed = json.load(file)["kernels"]
    torch.backends.cudnn.benchmark = True
    found = []
    for k in listed:
        work = kernel_work(k)
        found.append(None if work is None else timed(work, 1 if TINY else 20))
    print(json.dumps({"torch_ms": found}))


def time_networks(mode):
    torch.backends.cudnn.benchmark = True
    net, decoder = (m.to(torch.bfloat16).to(memory_format=torch.channels_last) for m in networks())
    x, timestep, context, latents = (v.bfloat16() for v in inputs())
    x, latents = (v.to(memory_format=torch.channels_last) for v in (x, latents))
    compiled = mode == "compiled"
    result = {}
    for name, module, args, runs in (("unet", net, (x, timestep, context), 30), ("decoder", decoder, (latents,), 5)):
        call = torch.compile(module, mode="reduce-overhead") if compiled else module
        if DEVICE == "cuda":
            torch.cuda.reset_peak_memory_stats()
        times = []
        for run in range(2 if TINY else runs + 5):
            if DEVICE == "cpu":
                call(*args)
                continue
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            call(*args)
            end.record()
            torch.cuda.synchronize()
            if run >= 5:
                times.append(begin.elapsed_time(end))
        result[name] = {"ms": statistics.median(times) if times else None,
                        "peak_bytes": torch.cuda.max_memory_allocated() if DEVICE == "cuda" else None}
    print(json.dumps({"torch": torch.__version__, mode: result}))


if __name__ == "__main__":
    words = [w for w in sys.argv[1:] if w != "--tiny"]
    if words[:1] == ["export"] and len(words) == 2:
        export(words[1])
    elif words[:1] == ["kernels"] and len(words) == 2:
        kernels(words[1])
    elif words[:1] == ["networks"]:
        time_networks(words[1] if len(words) > 1 else "eager")
    else:
        sys.exit(__doc__)
