"""Runs every step of the training with a handful of pictures: python -m training.smoke

Data, first stage, latents, text encoder, diffusion, export, evaluation, a few seconds each, and a step of every other
system; fails where one fails, or where a loss is not a number. Exits with 77 where PyTorch is missing.
"""
import importlib
import importlib.util
import json
import math
import pathlib
import sys
import tempfile

if importlib.util.find_spec("torch") is None:
    print("PyTorch is missing: skipped")
    sys.exit(77)


def run(module, *arguments):
    """Calls the main function of a script of this package with command-line arguments."""
    before, sys.argv = sys.argv, [module, *map(str, arguments)]
    try:
        importlib.import_module(f"training.{module}").main()
    finally:
        sys.argv = before


def main():
    with tempfile.TemporaryDirectory() as name:
        d = pathlib.Path(name)
        run("make_data", "--out", d / "a", "--count", 300, "--seed", 1)
        run("first_stage", "--data", d / "a.npy", "--out", d / "vae.pt", "--log", d / "vae.jsonl", "--minutes", 0.08, "--batch", 8)
        run("encode", "--vae", d / "vae.pt", "--data", d / "a.npy", "--out", d / "a.latents.npy")
        data = ["--latents", d / "a.latents.npy", "--scenes", d / "a.pkl"]
        run("pretrain_text", *data, "--out", d / "text.pt", "--log", d / "text.jsonl", "--minutes", 0.05, "--batch", 8)
        run("train", *data, "--text", d / "text.pt", "--out", d / "state.pt", "--log", d / "train.jsonl", "--minutes", 0.08, "--batch", 8)
        run("export", "--state", d / "state.pt", "--vae", d / "vae.pt", "--out", d / "release")
        scale = json.loads((d / "release" / "card.json").read_text())["scale_factor"]
        run("evaluate", "--model", d / "release" / "tiny-scenes.safetensors", "--scale", scale, "--count", 4, "--steps", 2, "--json", d / "e.json")
        released = ["--model", d / "release" / "tiny-scenes.safetensors"]
        run("train_style", "night", *released, "--out", d / "night.safetensors", "--log", d / "night.jsonl", "--count", 50, "--samples", 100, "--batch", 4)
        run("pairs", *released, "--out", d / "pairs.pt", "--count", 110, "--batch", 55, "--steps", 2)
        distilled = ["--pairs", d / "pairs.pt", "--out", d / "one-step.safetensors", "--log", d / "one-step.jsonl"]
        run("distill", *released, *distilled, "--samples", 8, "--batch", 4)
        systems = ("class", "unconditional", "layout", "semantic", "superres", "inpaint")
        for system in systems:
            state, init = d / f"{system}.pt", d / ("unconditional.pt" if system == "semantic" else "state.pt")
            given = ["--data", d / "a", "--vae", d / "vae.pt", "--init", init, "--batch", 4]
            pretrain = ["--pretrain", 8] if system == "layout" else []
            run("train_system", system, *given, *pretrain, "--samples", 8, "--out", state, "--log", d / f"{system}.jsonl")
            run("export_system", system, "--state", state, "--vae", d / "vae.pt", "--out", d / "systems")
            assert all((d / "systems" / f"{system}.{end}").exists() for end in ("safetensors", "yaml", "json"))
        for network in ("data", "base", "refiner", "koala", "tiny"):
            given = ["--data", d / "data.sdxl", "--samples", 8, "--batch", 4, "--log", d / f"{network}.jsonl"]
            teacher = ["--teacher", d / "base.sdxl"] if network in ("koala", "tiny") else []
            run("train_sdxl", network, *released, *given, *teacher, "--count", 40, "--out", d / f"{network}.sdxl")
        based = ["--base", d / "base.sdxl", "--batch", 55]
        run("distill_sdxl", "pairs", *released, *based, "--count", 110, "--steps", 2, "--out", d / "sdxl-pairs.pt")
        distilled = ["--pairs", d / "sdxl-pairs.pt", "--adapter", d / "one-step.safetensors", "--log", d / "turbo.jsonl"]
        run("distill_sdxl", "student", *released, *based, *distilled, "--samples", 8, "--batch", 4, "--out", d / "turbo.sdxl")
        networks = ("base", "refiner", "koala", "tiny", "turbo")
        states = [a for network in networks for a in (f"--{network}", d / f"{network}.sdxl")]
        run("export_sdxl", *released, *states, "--out", d / "sdxl")
        assert all((d / "sdxl" / f"{network}.{end}").exists() for network in networks for end in ("safetensors", "yaml"))
        entries = [json.loads(line) for log in ("vae", "text", "train", "night", "one-step", *systems, *networks) for line in (d / f"{log}.jsonl").read_text().splitlines()]
        numbers = [v for e in entries for v in e.values()]
        assert entries and all(math.isfinite(v) for v in numbers), entries
        assert len(json.loads((d / "e.json").read_text())["prompts"]) == 4
    print("ok")


if __name__ == "__main__":
    main()
