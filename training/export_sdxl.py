"""Writes the small SDXL as single files in sgm's names: python -m training.export_sdxl --model models/tiny-scenes.gguf --base base.pt --refiner refiner.pt --out FOLDER

FOLDER gets NAME.safetensors (float16) for every state that is given, NAME.yaml, its configuration in the words of
generative-models (JSON, which is YAML), and tokenizer/.
"""
import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file

from .checkpoint import PREFIXES, load
from .diffusion import alphas_cumprod, betas
from .export_system import FIRST_STAGE
from .sdxl import GAIN, LAYERS, NETWORKS, NUMBER, WIDTH, Towers
from .tokenizer import FOLDER

EMBEDDERS = "sgm.modules.encoders.modules."
MODULES = "sgm.modules.diffusionmodules."
NETWORK_OF = {"turbo": "base"}  # the few-step student has the base model's network
FILES = (*NETWORKS, *NETWORK_OF)


def tensors_of(name, unet, towers, vae):
    """Everything of one file, by its name there."""
    out = {PREFIXES["unet"] + k: v / GAIN if "attn2.to_k" in k or "attn2.to_v" in k else v for k, v in unet.items()}
    out.update({PREFIXES["vae"] + k: v for k, v in vae.state_dict().items()})
    first, second = "conditioner.embedders.0.", "conditioner.embedders.1."
    if name == "refiner":
        second = first
    else:
        out.update({f"{first}transformer.{k}": v for k, v in towers.first.state_dict().items()})
    out.update({f"{second}model.{k}": v for k, v in towers.second.state_dict().items()})
    return out


def configuration(name, scale):
    network = NETWORKS[NETWORK_OF.get(name, name)]
    unet = {
        "adm_in_channels": network["vector"], "num_classes": "sequential", "in_channels": 4, "out_channels": 4, "model_channels": 64,
        "attention_resolutions": list(network.get("attention", (2, 4))), "num_res_blocks": 1, "channel_mult": list(network.get("mult", (1, 2, 2))),
        "num_head_channels": 32, "use_linear_in_transformer": True, "transformer_depth": 1, "context_dim": network["context"],
        "spatial_transformer_attn_type": "softmax",
    }  # fmt: skip
    towers = [
        {"input_key": "txt", "target": EMBEDDERS + "FrozenCLIPEmbedder", "params": {"layer": "hidden", "layer_idx": LAYERS - 1}},
        {
            "input_key": "txt", "target": EMBEDDERS + "FrozenOpenCLIPEmbedder2",
            "params": {"arch": "small", "layer": "penultimate", "always_return_pooled": True, "legacy": False},
        },
    ]  # fmt: skip
    told = ["original_size_as_tuple", "crop_coords_top_left", "target_size_as_tuple"]
    if name == "refiner":
        towers, told = towers[1:], [*told[:2], "aesthetic_score"]
    numbers = [{"input_key": key, "target": EMBEDDERS + "ConcatTimestepEmbedderND", "params": {"outdim": NUMBER}} for key in told]
    params = {
        "scale_factor": scale,
        "image_size": 16,
        "denoiser_config": {
            "target": MODULES + "denoiser.DiscreteDenoiser",
            "params": {
                "num_idx": 1000,
                "scaling_config": {"target": MODULES + "denoiser_scaling.EpsScaling"},
                "discretization_config": {"target": MODULES + "discretizer.LegacyDDPMDiscretization"},
            },
        },
        "network_config": {"target": MODULES + "openaimodel.UNetModel", "params": unet},
        "conditioner_config": {"target": "sgm.modules.GeneralConditioner", "params": {"emb_models": [*towers, *numbers]}},
        "first_stage_config": FIRST_STAGE,
    }
    text = {"context_length": 77, "vocab_size": 971, "width": WIDTH, "heads": 4, "layers": LAYERS}
    first = {"num_attention_heads": 4, "hidden_act": "quick_gelu"}
    return {
        "model": {"target": "sgm.models.diffusion.DiffusionEngine", "params": params},
        **({} if name == "refiner" else {"text_encoder": first}),
        "text_encoder_2": {"text_cfg": text, "embed_dim": WIDTH},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the embedded model: text encoder and first stage")
    for name in FILES:
        parser.add_argument(f"--{name}", help=f"a state of train_sdxl {name}" if name in NETWORKS else "a state of distill_sdxl student")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    models = load(args.model)
    towers = Towers(models["text"])
    (args.out / "tokenizer").mkdir(parents=True, exist_ok=True)
    for file in ("vocab.json", "merges.txt"):
        shutil.copy(FOLDER / file, args.out / "tokenizer" / file)
    for name in FILES:
        if not getattr(args, name):
            continue
        state = torch.load(getattr(args, name))
        tensors = {k: v.half().contiguous() for k, v in tensors_of(name, state["unet"], towers, models["vae"]).items()}
        tensors["betas"], tensors["alphas_cumprod"] = betas().float(), alphas_cumprod().float()
        save_file(tensors, args.out / f"{name}.safetensors", {"format": "pt"})
        (args.out / f"{name}.yaml").write_text(json.dumps(configuration(name, round(state["scale"], 6)), indent=1) + "\n")


if __name__ == "__main__":
    main()
