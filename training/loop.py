"""What the training scripts share: the clock that rules the learning rate, averaged weights, a log that can be plotted."""
import json
import time

import torch


class Clock:
    """Progress 0..1 through a budget of wall-clock time, or of samples where that is given (for machines that other work
    keeps busy). The learning rate warms up, stays, and goes to zero at the end."""

    def __init__(self, minutes, spent=0.0, samples=None):
        self.start, self.seconds = time.time() - spent * 60, minutes * 60
        self.samples, self.seen = samples, 0

    @property
    def minutes(self):
        return (time.time() - self.start) / 60

    @property
    def progress(self):
        return min(1.0, self.seen / self.samples if self.samples else (time.time() - self.start) / self.seconds)

    def rate(self, step, warmup=100, flat=0.4):
        decay = (self.progress - flat) / (1 - flat)
        return min(1.0, (step + 1) / warmup) * (1 - max(0.0, decay) * 0.99)


class Average:
    """Exponential moving average of parameters, with a faster start."""

    def __init__(self, parameters, decay=0.999):
        self.parameters, self.decay, self.steps = list(parameters), decay, 0
        self.values = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self):
        d = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        for value, parameter in zip(self.values, self.parameters):
            value.lerp_(parameter.detach(), 1 - d)

    def swap(self):
        """Puts the averaged values into the networks; a second call puts the trained ones back."""
        for i, p in enumerate(self.parameters):
            p.data, self.values[i] = self.values[i], p.data


class Log:
    """One line of JSON per entry, printed and appended to a file."""

    def __init__(self, path):
        self.file = open(path, "a")

    def __call__(self, **entry):
        entry = {k: round(v, 6) if isinstance(v, float) else v for k, v in entry.items()}
        print(" ".join(f"{k} {v}" for k, v in entry.items()), flush=True)
        self.file.write(json.dumps(entry) + "\n")
        self.file.flush()


def parameter_groups(models, rates=None, weight_decay=0.02):
    """AdamW groups: weight decay for matrices and kernels only; a factor on the learning rate for each network."""
    groups = []
    for name, model in models.items():
        factor = (rates or {}).get(name, 1.0)
        matrices = [p for n, p in model.named_parameters() if p.ndim >= 2 and "embedding" not in n]
        others = [p for n, p in model.named_parameters() if p.ndim < 2 or "embedding" in n]
        groups += [
            {"params": matrices, "weight_decay": weight_decay, "factor": factor},
            {"params": others, "weight_decay": 0.0, "factor": factor},
        ]
    return groups


def set_rate(optimizer, rate):
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
