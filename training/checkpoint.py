"""SD 1.x single files (CompVis names): reading the three networks, and writing them."""
import os

import torch
from safetensors.torch import load_file, save_file

from .diffusion import alphas_cumprod, betas
from .gguf import load_gguf
from .models import AutoencoderKL, CLIPTextModel, UNetModel

PREFIXES = {"unet": "model.diffusion_model.", "vae": "first_stage_model.", "text": "cond_stage_model.transformer."}


def build():
    """The three networks with fresh weights, in the sizes of the embedded model."""
    return {"unet": UNetModel(), "vae": AutoencoderKL(), "text": CLIPTextModel()}


def load(path, models=None):
    """Fills the networks from a single file, safetensors or GGUF; every parameter must be there."""
    models = models or build()
    tensors = load_gguf(path)[0] if str(path).endswith(".gguf") else load_file(path)
    for name, model in models.items():
        prefix = PREFIXES[name]
        shapes = {k: v.shape for k, v in model.state_dict().items()}  # a GGUF file stores kernels as matrices
        own = {k[len(prefix) :]: v.float() for k, v in tensors.items() if k.startswith(prefix)}
        model.load_state_dict({k: v.reshape(shapes.get(k, v.shape)) for k, v in own.items() if "position_ids" not in k})
    return models


def save(path, models, dtype=torch.float16, metadata=None):
    """Writes a single file, by way of a temporary one, so that a reader never sees half of it."""
    tensors = {PREFIXES[n] + k: v.detach().to(dtype).contiguous() for n, m in models.items() for k, v in m.state_dict().items()}
    tensors["betas"], tensors["alphas_cumprod"] = betas().float(), alphas_cumprod().float()
    save_file(tensors, str(path) + ".tmp", {"format": "pt", **(metadata or {})})
    os.replace(str(path) + ".tmp", path)
