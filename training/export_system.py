"""Writes one of the other systems as a CompVis file: python -m training.export_system layout --state layout.pt --vae vae.pt --out FOLDER

FOLDER gets NAME.safetensors (float16), NAME.yaml, its configuration in the words of the latent-diffusion repository
(JSON, which is YAML), NAME.json: what neither says, for the specification of the engine (names of classes, steps), and
tokenizer/ for those that take prompts.
"""
import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file

from .checkpoint import PREFIXES
from .diffusion import alphas_cumprod, betas
from .labels import LABELS
from .models import AutoencoderKL
from .systems import CLASSES, LOW_SCALE, SYSTEMS, WIDTH, Layout, Prompted, SuperResolution
from .tokenizer import FOLDER

EMBEDDERS = "ldm.modules.encoders.modules."
FIRST_STAGE = {
    "target": "ldm.models.autoencoder.AutoencoderKL",
    "params": {
        "embed_dim": 4,
        "ddconfig": {
            "double_z": True, "z_channels": 4, "resolution": 64, "in_channels": 3, "out_ch": 3, "ch": 32,
            "ch_mult": [1, 1, 2], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0,
        },
        "lossconfig": {"target": "torch.nn.Identity"},
    },
}  # fmt: skip

CLIP = {"target": EMBEDDERS + "FrozenCLIPEmbedder"}
UPSCALER = {
    "target": "ldm.modules.diffusionmodules.upscaling.ImageConcatWithNoiseAugmentation",
    "params": {
        "noise_schedule_config": {"linear_start": LOW_SCALE[0], "linear_end": LOW_SCALE[1], "timesteps": 1000},
        "max_noise_level": SuperResolution.levels - 1,
    },
}

# cond_stage_config, conditioning_key and cond_stage_key of each system
CONDITIONING = {
    "unconditional": ("__is_unconditional__", None, "image"),
    "class": ({"target": EMBEDDERS + "ClassEmbedder", "params": {"embed_dim": WIDTH, "n_classes": len(CLASSES) + 1, "key": "class_label"}}, "crossattn", "class_label"),
    "layout": (
        {
            "target": EMBEDDERS + "BERTEmbedder",
            "params": {"n_embed": WIDTH, "n_layer": 3, "vocab_size": Layout.vocabulary, "max_seq_len": 3 * Layout.slots + 2, "use_tokenizer": False},
        },
        "crossattn", "coordinates_bbox",
    ),
    "semantic": ({"target": EMBEDDERS + "SpatialRescaler", "params": {"n_stages": 2, "in_channels": len(LABELS), "out_channels": 8}}, "concat", "segmentation"),
    "superres": (CLIP, "hybrid-adm", "txt"),
    "inpaint": (CLIP, "hybrid", "txt"),
}  # fmt: skip

# Beside the configuration, in the words of the engine's ModelSpec
SPECIFICATION = {
    "unconditional": {"steps": 50, "eta": 1},
    "class": {"steps": 25, "guidanceScale": 3, "conditioners": [{"params": {"nullClass": len(CLASSES), "names": CLASSES}}]},
    "layout": {"steps": 50, "conditioners": [{"params": {"names": CLASSES}}]},
    "semantic": {"steps": 50, "conditioners": [{"params": {"names": LABELS}}]},
    "superres": {"steps": 25, "guidanceScale": 2, "conditioners": [{}, {"params": {"noiseLevel": 0}}]},
    "inpaint": {"steps": 25, "eta": 0, "guidanceScale": 2},
}


def configuration(name, scale):
    system = SYSTEMS[name]
    stage, key, stage_key = CONDITIONING[name]
    unet = {
        "image_size": 16, "in_channels": 4 + system.extra, "out_channels": 4, "model_channels": 64,
        "attention_resolutions": [2, 4], "num_res_blocks": 1, "channel_mult": [1, 2, 2], "num_heads": 4,
    }  # fmt: skip
    if system.context:
        unet.update(use_spatial_transformer=True, transformer_depth=1, context_dim=system.context)
    if system.levels:
        unet.update(num_classes=system.levels)
    params = {
        "linear_start": 0.00085, "linear_end": 0.012, "timesteps": 1000, "image_size": 16, "channels": 4,
        "first_stage_key": "image", "cond_stage_key": stage_key, "cond_stage_trainable": isinstance(stage, dict),
        "conditioning_key": key, "scale_factor": scale, "use_ema": False,
        "unet_config": {"target": "ldm.modules.diffusionmodules.openaimodel.UNetModel", "params": unet},
        "first_stage_config": FIRST_STAGE, "cond_stage_config": stage,
    }  # fmt: skip
    if name == "superres":
        params["low_scale_config"] = UPSCALER
    layout = {"no_object_classes": len(CLASSES), "use_group_parameter": False, "use_additional_parameters": False}
    return {
        "model": {"target": "ldm.models.diffusion.ddpm.LatentDiffusion", "params": params},
        **({"layout_encoding": layout} if name == "layout" else {}),
        **({"text_encoder": {"num_attention_heads": 4, "hidden_act": "quick_gelu"}} if stage == CLIP else {}),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("--state", required=True)
    parser.add_argument("--vae", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    state, vae = torch.load(args.state), AutoencoderKL()
    vae.load_state_dict(torch.load(args.vae))
    tensors = {PREFIXES["unet"] + k: v for k, v in state["unet"].items()}
    tensors.update({PREFIXES["vae"] + k: v for k, v in vae.state_dict().items()})
    prompted = issubclass(SYSTEMS[args.system], Prompted)
    prefix = PREFIXES["text"] if prompted else "cond_stage_model."
    tensors.update({prefix + k: v for k, v in state.get("conditioner", {}).items()})
    tensors = {k: v.half().contiguous() for k, v in tensors.items()}
    tensors["betas"], tensors["alphas_cumprod"] = betas().float(), alphas_cumprod().float()
    args.out.mkdir(parents=True, exist_ok=True)
    if prompted:
        (args.out / "tokenizer").mkdir(exist_ok=True)
        for name in ("vocab.json", "merges.txt"):
            shutil.copy(FOLDER / name, args.out / "tokenizer" / name)
    save_file(tensors, args.out / f"{args.system}.safetensors", {"format": "pt"})
    (args.out / f"{args.system}.yaml").write_text(json.dumps(configuration(args.system, round(state["scale"], 6)), indent=1) + "\n")
    (args.out / f"{args.system}.json").write_text(json.dumps(SPECIFICATION[args.system], indent=1) + "\n")


if __name__ == "__main__":
    main()
