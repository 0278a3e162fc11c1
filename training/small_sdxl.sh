#!/bin/sh
# Trains the small SDXL models of docs/guides/sdxl.md and writes their files: training/small_sdxl.sh FOLDER
# Under half an hour of one free core (estimated from the speeds in training/README.md). PYTHON: an interpreter with the packages of training/requirements.txt. What is there already is kept.
set -eu
cd "$(dirname "$0")/.."
out=${1:?usage: training/small_sdxl.sh FOLDER}
python=${PYTHON:-python3}
model=models/tiny-scenes.gguf
mkdir -p "$out"

# step NAME MODULE WHAT ARGUMENTS...: makes NAME.pt
step() {
  name=$1 module=$2 what=$3
  shift 3
  [ -e "$out/$name.pt" ] && return
  echo "== $name"
  "$python" -m "training.$module" "$what" --model $model "$@" --out "$out/$name.partial"
  mv "$out/$name.partial" "$out/$name.pt"
}

data="--data $out/data.pt --flat .3 --log $out/log.jsonl"
based="--base $out/base.pt"
step data train_sdxl data --count 16000 --seed 62
step base train_sdxl base $data --samples 13000 --batch 32 --rate 4e-4 --average .997
step refiner train_sdxl refiner $data --samples 12600 --batch 32 --rate 4e-4
step pairs distill_sdxl pairs $based --count 2500 --steps 8 --batch 50
step turbo distill_sdxl student $based --pairs "$out/pairs.pt" --adapter models/adapters/one-step.safetensors --samples 8000 --flat .3 --log "$out/log.jsonl"
step tiny train_sdxl tiny $data --teacher "$out/base.pt" --samples 2800 --rate 4e-4 --average .98
step koala train_sdxl koala $data --teacher "$out/base.pt" --samples 800 --rate 4e-4 --average .98
states=$(for name in base refiner turbo tiny koala; do echo "--$name $out/$name.pt"; done)
"$python" -m training.export_sdxl --model $model $states --out "$out"
