"""The diffusion of SD 1.x: noise schedule and samplers (DDIM; DPM-Solver++ 2M) with classifier-free guidance.

    x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps,    a_t the cumulative product of 1 - beta   (DDPM, equation 4)
"""
import torch

STEPS = 1000


def betas(first=0.00085, last=0.012):
    """'scaled linear': the square roots of beta go from .00085 to .012 in a line."""
    return torch.linspace(first**0.5, last**0.5, STEPS, dtype=torch.float64) ** 2


def alphas_cumprod(*ends):
    return torch.cumprod(1 - betas(*ends), dim=0)


def add_noise(x, noise, t, alphas):
    """The noisy latents x_t of equation 4; t (B,)."""
    a = alphas[t].view(-1, 1, 1, 1)
    return a.sqrt() * x + (1 - a).sqrt() * noise


class Guided:
    """The network's noise estimate with classifier-free guidance: e = e_empty + g (e_text - e_empty)."""

    def __init__(self, unet, context, empty, guidance, bfloat16=True):
        self.unet, self.guidance, self.bfloat16 = unet, guidance, bfloat16
        self.context = torch.cat([context, empty]) if guidance != 1 else context

    def __call__(self, x, t):
        n = len(x)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            if self.guidance == 1:
                return self.unet(x, torch.full((n,), t), self.context).float()
            both = self.unet(torch.cat([x, x]), torch.full((2 * n,), t), self.context).float()
        cond, uncond = both.chunk(2)
        return uncond + self.guidance * (cond - uncond)


def ddim(model, x, steps=25):
    """Deterministic DDIM (eta 0), steps evenly spaced with an offset of one, as SD 1.x does it."""
    alphas = alphas_cumprod()
    stride = STEPS // steps
    for t in reversed(range(1, STEPS, stride)) if STEPS % steps else [i * stride + 1 for i in reversed(range(steps))]:
        a, before = alphas[t].item(), alphas[max(t - stride, 0)].item()
        eps = model(x, t)
        x0 = (x - (1 - a) ** 0.5 * eps) / a**0.5
        x = before**0.5 * x0 + (1 - before) ** 0.5 * eps
    return x


def dpm_solver_2m(model, x, steps=20):
    """DPM-Solver++ (2M) in the data prediction form, timesteps evenly spaced."""
    alphas = alphas_cumprod()
    times = torch.linspace(STEPS - 1, 0, steps + 1).round().long().tolist()
    lam = 0.5 * (alphas.log() - (1 - alphas).log())
    previous, last_h = None, None
    for i, (t, s) in enumerate(zip(times[:-1], times[1:])):
        a, b = alphas[t].item(), alphas[s].item()
        eps = model(x, t)
        x0 = (x - (1 - a) ** 0.5 * eps) / a**0.5
        h = (lam[s] - lam[t]).item()
        d = x0
        if previous is not None and i < steps - 1:
            r = last_h / h
            d = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * previous
        x = ((1 - b) / (1 - a)) ** 0.5 * x - b**0.5 * torch.expm1(torch.tensor(-h)).item() * d
        previous, last_h = x0, h
    return x


SAMPLERS = {"ddim": ddim, "dpm++": dpm_solver_2m}


@torch.no_grad()
def generate(models, tokenizer, prompts, scale, sampler="ddim", steps=25, guidance=5.0, seed=0, batch=50, size=16):
    """Latents of the prompts -> pictures as floats (N, 3, H, W) in -1..1. Noise goes by the seed and the place in the list."""
    out = []
    empty = models["text"](torch.tensor([tokenizer("")]))
    for i in range(0, len(prompts), batch):
        part = prompts[i : i + batch]
        context = models["text"](torch.tensor([tokenizer(p) for p in part]))
        noise = torch.randn((len(part), 4, size, size), generator=torch.Generator().manual_seed(seed + i))
        model = Guided(models["unet"], context, empty.expand_as(context), guidance)
        z = SAMPLERS[sampler](model, noise, steps)
        out.append(models["vae"].decode(z / scale))
    return torch.cat(out)
