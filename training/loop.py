"""What the training scripts share: the clock that rules the learning rate, averaged weights, a log that can be plotted, the loop."""
import json
import os
import time

import numpy as np

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
        group["lr"] = rate * group.get("factor", 1.0)


def write(path, save):
    """Calls ``save`` with a temporary path, then puts that file in the place of the old one: a reader never sees half of it."""
    save(f"{path}.tmp")
    os.replace(f"{path}.tmp", path)


class Loop:
    """Steps of AdamW with averaged weights, until the clock has run out.

    ``rate``, ``warmup`` and ``flat`` rule the learning rate (Clock.rate). Every ``every`` steps the mean loss is logged, and every
    ``minutes`` and at the end ``save(loss)`` is called while the averaged weights are in the networks. ``tick`` is called once a step.
    """

    def __init__(self, parameters, groups, clock, log, *, rate, warmup, flat=0.4, average, minutes, every=None, weight_decay=0.01, tick=None):
        self.parameters, self.clock, self.log, self.tick = list(parameters), clock, log, tick
        self.rate, self.warmup, self.flat, self.every, self.minutes = rate, warmup, flat, every, minutes
        self.optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), weight_decay=weight_decay)
        self.average, self.step = Average(self.parameters, average), 0

    def run(self, loss_of, save):
        """``loss_of()`` -> the loss of the next batch and its number of samples"""
        losses, saved = [], self.clock.minutes
        while self.clock.progress < 1:
            set_rate(self.optimizer, self.rate * self.clock.rate(self.step, self.warmup, self.flat))
            loss, seen = loss_of()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
            self.average.update()
            if self.tick:
                self.tick()
            self.step, self.clock.seen = self.step + 1, self.clock.seen + seen
            losses.append(loss.item())
            if self.every and self.step % self.every == 0:
                self.log(step=self.step, minutes=self.clock.minutes, seen=self.clock.seen, loss=float(np.mean(losses[-self.every :])))
            if self.clock.minutes - saved > self.minutes or self.clock.progress >= 1:
                saved = self.clock.minutes
                self.average.swap()
                save(float(np.mean(losses[-50:])))
                self.average.swap()

    def state(self):
        """What ``resume`` needs to go on."""
        parameters = [p.detach() for p in self.parameters]
        average = {"average": self.average.values, "average_steps": self.average.steps}
        return {"parameters": parameters, "optimizer": self.optimizer.state_dict(), **average, "seen": self.clock.seen, "step": self.step}

    def resume(self, state):
        for p, v in zip(self.parameters, state["parameters"]):
            p.data.copy_(v)
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.values, self.average.steps, self.clock.seen, self.step = state["average"], state["average_steps"], state["seen"], state["step"]
