"""The three networks of an SD 1.x model, with parameter names as in CompVis single files."""
from .autoencoder import AutoencoderKL
from .clip_text import CLIPTextModel
from .unet import UNetModel

__all__ = ["AutoencoderKL", "CLIPTextModel", "UNetModel"]
