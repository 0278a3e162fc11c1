"""Muon: momentum whose matrices are made orthogonal by a Newton-Schulz iteration (Jordan et al., 2024).

For matrices and convolution kernels (seen as matrices) of the hidden layers; everything else goes to AdamW.
"""
import torch


def orthogonalize(matrix, steps=5):
    """The nearest (semi-)orthogonal matrix, roughly: all singular values brought near one."""
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T.contiguous()
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        a = x @ x.T
        b = torch.addmm(a, a, a, beta=-4.7750, alpha=2.0315)
        x = torch.addmm(x, b, x, beta=3.4445)
    return (x.T if tall else x).float()


class Muon(torch.optim.Optimizer):
    def __init__(self, groups, lr, momentum=0.95, weight_decay=0.01):
        super().__init__(groups, dict(lr=lr, momentum=momentum, weight_decay=weight_decay, factor=1.0))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                u = p.grad.lerp(state["momentum"], group["momentum"]).flatten(1)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                # the size of an update matches AdamW's: root mean square about .2 of the rate
                p.add_(orthogonalize(u).reshape(p.shape), alpha=-0.2 * group["lr"] * max(u.shape) ** 0.5)
