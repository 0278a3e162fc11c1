#!/usr/bin/env bash
# All checks of the CUDA engine that need a GPU, in under 12 minutes: its tests, the times of its
# kernels, a guided step and a decode of Stable Diffusion 1.5 at full size compared with float32,
# and the same in PyTorch on the same GPU. Writes OUT, one JSON document, after every part, so that
# finished parts are kept if the machine is lost, and prints it. Keep it as
# test/bench/records/cuda-<card>.json.
#
#   scripts/gpu-check.sh [OUT]       OUT: gpu-check.json by default
#
# Needs an NVIDIA GPU of compute capability 8.0 or newer and nvcc (or GPU_CHECK_BIN, the folder cuda-device with test_cuda_device and gpu_bench of a build by
# cmake -DLATENT_CUDA=ON); python3 with torch for the comparison, otherwise that part is marked as
# skipped. GPU_CHECK_GOLDENS: a command that runs the golden networks on the device, for its exit
# status and last line.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-gpu-check.json}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3 || true)
[ -n "$python" ] || { echo "gpu-check: python3 is needed to write the report" >&2; exit 2; }
command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1 || { echo "gpu-check: skipped, nvidia-smi shows no GPU" >&2; exit 77; }

# part NAME JSON: adds it to the report.
part() {
  OUT=$out NAME=$1 "$python" - "$2" <<'PY'
import json, os, sys
path = os.environ["OUT"]
report = json.load(open(path)) if os.path.exists(path) else {}
try:
    with open(sys.argv[1]) as file:
        value = json.load(file)
except (OSError, ValueError) as error:
    value = {"failed": str(error)}
report[os.environ["NAME"]] = value
with open(path, "w") as file:
    json.dump(report, file, indent=1)
    file.write("\n")
PY
}
# say NAME KEY=VALUE...: the same with texts.
say() {
  local name=$1
  shift
  "$python" -c 'import json, sys; print(json.dumps(dict(a.split("=", 1) for a in sys.argv[1:])))' "$@" >"$work/said.json"
  part "$name" "$work/said.json"
}
# limited SECONDS COMMAND...: its output in $work/log.
limited() {
  local seconds=$1
  shift
  timeout "$seconds" "$@" >"$work/log" 2>"$work/errors"
}
last_words() { tail -n 1 "$work/errors" "$work/log" 2>/dev/null | tr -s '\n' ' ' | cut -c1-300; }

rm -f "$out"
say machine "gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1)" \
  "driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -1)" \
  "memory=$(nvidia-smi --query-gpu=memory.total --format=csv,noheader | head -1)" \
  "clocks=$(nvidia-smi --query-gpu=clocks.sm,clocks.max.sm --format=csv,noheader | head -1)" \
  "date=$(date -u +%Y-%m-%d)" "commit=${GPU_CHECK_COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || echo unknown)}"

bin=${GPU_CHECK_BIN:-}
if [ -z "$bin" ]; then
  bin=$work/bin
  mkdir -p "$bin"
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
  start=$SECONDS
  for source in native/cuda/*.cpp test/native/cuda/*.cpp test/native/cuda/bench/*.cpp; do
    object=$bin/$(echo "$source" | tr / _).o
    echo "nvcc -std=c++17 -O3 -gencode arch=compute_$capability,code=sm_$capability -Inative -Itest/native -Itest/native/cuda -x cu -c $source -o $object"
  done | xargs -P "$(nproc)" -I{} sh -c '{}' >"$work/log" 2>"$work/errors"
  nvcc -cudart static -o "$bin/test_cuda_device" "$bin"/native_cuda_*.o $(ls "$bin"/test_native_cuda_*.o | grep -v _bench_) &&
    nvcc -cudart static -o "$bin/gpu_bench" "$bin"/native_cuda_*.o "$bin"/test_native_cuda_bench_*.o "$bin"/test_native_cuda_stored_weights.cpp.o ||
    { say build "failed=$(last_words)"; cat "$out"; exit 1; }
  say build "seconds=$((SECONDS - start))"
fi

status=0
limited 90 "$bin/test_cuda_device" || status=1
say tests "passed=$(tail -n 1 "$work/log")" "failures=$(grep -hv '^ok\| passed, ' "$work/errors" "$work/log" 2>/dev/null | head -20 | tr '\n' ';' | cut -c1-2000)"
[ "$status" = 0 ] || { cat "$out"; exit 1; }  # times of what is wrong say nothing

limited 120 "$bin/gpu_bench" --only kernels || say kernels_failed "why=$(last_words)"
cp "$work/log" "$work/kernels.json"
part kernels "$work/kernels.json"

torch=no
"$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null && torch=yes
weights=()
if [ "$torch" = yes ]; then
  limited 100 "$python" scripts/gpu-baseline.py export "$work/weights" && weights=(--weights "$work/weights")
else
  say torch "missing=python3 has no torch with CUDA: no comparison, random weights"
fi
limited 120 "$bin/gpu_bench" --only networks "${weights[@]}" || say networks_failed "why=$(last_words)"
cp "$work/log" "$work/networks.json"
part networks "$work/networks.json"

if [ -n "${GPU_CHECK_GOLDENS:-}" ]; then
  limited 120 bash -c "$GPU_CHECK_GOLDENS"
  say goldens "status=$?" "last=$(last_words)"
fi

if [ "$torch" = yes ]; then
  limited 90 "$python" scripts/gpu-baseline.py networks eager || true
  cp "$work/log" "$work/eager.json" && part torch_eager "$work/eager.json"
  limited 90 "$python" scripts/gpu-baseline.py kernels "$work/kernels.json" || true
  cp "$work/log" "$work/torch.json" && part torch_kernels "$work/torch.json"
  limited 180 "$python" scripts/gpu-baseline.py networks compiled || true
  cp "$work/log" "$work/compiled.json" && part torch_compiled "$work/compiled.json"
fi
say time "seconds=$SECONDS"
cat "$out"
