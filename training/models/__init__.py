"""The networks of the paper's models, with parameter names as in CompVis files."""
from .autoencoder import AutoencoderKL
from .clip_text import CLIPTextModel
from .conditioners import BERTEmbedder, ClassEmbedder, SpatialRescaler
from .open_clip_text import OpenCLIPTextModel
from .unet import UNetModel

__all__ = ["AutoencoderKL", "BERTEmbedder", "CLIPTextModel", "ClassEmbedder", "OpenCLIPTextModel", "SpatialRescaler", "UNetModel"]
