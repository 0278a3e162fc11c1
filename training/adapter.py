"""Low-rank adapters of the U-Net: trained beside its frozen weights, written with the names that kohya's scripts use.

The change of a linear layer is up @ down, that of a convolution a small convolution down and a 1x1 convolution up.
"""
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    """A weight plus the product of two thin matrices; nothing at first, since one of them starts at zero."""

    def __init__(self, weight, rank):
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, weight[0].numel()) / weight[0].numel() ** 0.5)
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, weight):
        return weight + (self.up @ self.down).view_as(weight)


class Offset(nn.Module):
    """A bias plus a difference of its own (``diff_b``)."""

    def __init__(self, bias):
        super().__init__()
        self.diff = nn.Parameter(torch.zeros_like(bias))

    def forward(self, bias):
        return bias + self.diff


def adapted_layers(unet, convolutions):
    """The layers that get a change: (name, layer). The layers at both ends are left alone."""
    for name, layer in unet.named_modules():
        kernel = getattr(layer, "kernel_size", (1, 1))
        if not isinstance(layer, (nn.Linear, nn.Conv2d)) or layer.weight.shape[0] <= 4 or layer.weight.shape[1] <= 4:
            continue
        if kernel == (1, 1) or convolutions:
            yield name, layer


def add_adapter(unet, rank, conv_rank=0, biases=False):
    """Freezes the network and adds trainable changes; -> the parameters of them all."""
    unet.requires_grad_(False)
    parameters = []
    for name, layer in list(adapted_layers(unet, conv_rank > 0)):
        kernel = getattr(layer, "kernel_size", (1, 1))
        change = LowRank(layer.weight, rank if kernel == (1, 1) else conv_rank)
        parametrize.register_parametrization(layer, "weight", change)
        parameters += [change.down, change.up]
        if biases and layer.bias is not None:
            offset = Offset(layer.bias)
            parametrize.register_parametrization(layer, "bias", offset)
            parameters.append(offset.diff)
    return parameters


def adapter_tensors(unet):
    """The changes under kohya's names, as float16."""
    tensors = {}
    for name, layer in unet.named_modules():
        if not parametrize.is_parametrized(layer):
            continue
        key = "lora_unet_" + name.replace(".", "_")
        weight = layer.parametrizations.weight.original
        change = layer.parametrizations.weight[0]
        down, up = change.down.detach(), change.up.detach()
        if weight.ndim == 4:
            down, up = down.view(len(down), *weight.shape[1:]), up[:, :, None, None]
        tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"] = down, up
        tensors[f"{key}.alpha"] = torch.tensor(float(len(down)))
        if "bias" in layer.parametrizations:
            tensors[f"{key}.diff_b"] = layer.parametrizations.bias[0].diff.detach()
    return {k: v.half().contiguous() for k, v in tensors.items()}


def save_adapter(path, unet, **metadata):
    save_file(adapter_tensors(unet), str(path), {"format": "pt", "ss_base_model_version": "sd_v1", **{k: str(v) for k, v in metadata.items()}})
