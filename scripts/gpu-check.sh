#!/usr/bin/env bash
# All checks of the CUDA engine that need a GPU, in under ten minutes: its tests, the golden networks,
# the times of its kernels, a guided step and a decode of Stable Diffusion 1.5 at full size compared
# with float32, and the same in PyTorch on the same GPU. Writes OUT, one JSON document, after every
# part, so that finished parts are kept if the machine is lost, and prints it. A part that fails or
# runs out of time says so there, and the others still run. Keep OUT as
# test/bench/records/cuda-<card>.json.
#
#   scripts/gpu-check.sh pack [FOLDER]   builds what the check runs, into build-gpu-check by default; needs nvcc, no GPU
#   scripts/gpu-check.sh [OUT]           OUT: gpu-check.json by default
#
# Needs bash, python3 and an NVIDIA GPU of compute capability 8.0 or newer, and no network. The programs are taken from
# build-gpu-check (or GPU_CHECK_BIN) if it exists; else nvcc builds them, without the golden networks. python3 with torch adds the
# comparison. With Node.js and the built addon, the images of each backend whose library is beside those programs or in build/Release
# are compared with the CPU's.
#
# GPU_CHECK_SECONDS: of the whole check, 570 by default. GPU_CHECK_ARCHITECTURES: compute capabilities of pack, "90" by default,
# separated by semicolons. GPU_CHECK_COMMIT: the commit, where there is no git.
set -uo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = pack ]; then
  set -e
  folder=${2:-build-gpu-check}
  make=build-gpu-check-make
  generator=()
  command -v ninja >/dev/null && generator=(-G Ninja)
  cmake -S . -B "$make" ${generator[@]+"${generator[@]}"} -DCMAKE_BUILD_TYPE=Release -DLATENT_BUILD_TESTS=ON -DLATENT_BUILD_ADDON=OFF -DLATENT_CUDA=ON \
    -DLATENT_CUDA_ARCHITECTURES="${GPU_CHECK_ARCHITECTURES:-90}" -DLATENT_ADDON_DIR="$PWD/$make/engine"
  cmake --build "$make" --parallel "${GPU_CHECK_JOBS:-$(nproc)}" --target latent_cuda test_cuda_device gpu_bench test_cuda_home
  mkdir -p "$folder"
  cp "$make"/engine/latent-cuda.so "$make"/cuda-device/test_cuda_device "$make"/cuda-device/gpu_bench \
    "$make"/test/native/cuda_home/test_cuda_home "$folder"
  strip "$folder"/test_* "$folder"/gpu_bench "$folder"/latent-cuda.so
  git rev-parse --short HEAD >"$folder/commit" 2>/dev/null || rm -f "$folder/commit"
  du -sh "$folder"
  exit
fi

out=${1:-gpu-check.json}
total=${GPU_CHECK_SECONDS:-570}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3 || true)
[ -n "$python" ] || { echo "gpu-check: python3 is needed to write the report" >&2; exit 2; }
command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1 || { echo "gpu-check: skipped, nvidia-smi shows no GPU" >&2; exit 77; }

cat >"$work/part.py" <<'PY'
# NAME FILE|KEY=VALUE...: adds a part to the report. A document that breaks off is kept to its last whole line.
import json, os, sys

def whole(text):
    lines = text.rstrip().split("\n")
    while lines:
        for end in ("", "\n}", "\n  ]\n}"):
            try:
                value = json.loads("\n".join(lines).rstrip(",") + end)
            except ValueError:
                continue
            return value if isinstance(value, dict) else {"value": value}
        lines.pop()
    return {}

path, name, words = os.environ["OUT"], sys.argv[1], sys.argv[2:]
report = json.load(open(path)) if os.path.exists(path) else {}
if "=" in words[0]:
    value = dict(word.split("=", 1) for word in words)
else:
    try:
        with open(words[0]) as file:
            value = whole(file.read())
    except OSError as error:
        value = {"failed": str(error)}
    with open(words[0], "w") as file:
        json.dump(value, file)
if os.environ.get("FAILED"):
    value["failed"] = os.environ["FAILED"]
report[name] = value
report.setdefault("seconds", {})[name] = int(os.environ["AT"])
with open(path + ".new", "w") as file:
    json.dump(report, file, indent=1)
    file.write("\n")
os.replace(path + ".new", path)
PY
# part NAME FILE|KEY=VALUE...
part() { OUT=$out AT=$SECONDS FAILED=${failed:-} "$python" "$work/part.py" "$@"; }
# limited SECONDS COMMAND...: within what is left of the time; its output is in $work/log.
limited() {
  local most=$1 left=$((total - SECONDS))
  shift
  : >"$work/log"
  [ "$left" -ge 5 ] || { echo "no time was left" >"$work/errors"; return 124; }
  timeout -k 5 "$((most < left ? most : left))" "$@" >"$work/log" 2>"$work/errors"
}
last_words() { tail -n 3 "$work/errors" 2>/dev/null | tr -s '\n' ' ' | cut -c1-600; }
# measure NAME SECONDS COMMAND...: a part whose output is JSON.
measure() {
  local name=$1 status=0
  shift
  limited "$@" || status=$?
  cp "$work/log" "$work/$name.json"
  local failed=""
  [ "$status" = 0 ] || failed="status $status: $(last_words)"
  part "$name" "$work/$name.json"
  return "$status"
}
# checked NAME SECONDS COMMAND...: a part of tests.
checked() {
  local name=$1 status=0
  shift
  limited "$@" || status=$?
  part "$name" "status=$status" "passed=$(tail -n 1 "$work/log")" \
    "failures=$({ grep '^FAIL' "$work/log"; tail -n 40 "$work/errors"; } 2>/dev/null | tr '\n' ';' | cut -c1-4000)"
  return "$status"
}

rm -f "$out"
ask() { nvidia-smi "--query-gpu=$1" --format=csv,noheader | head -1; }
bin=${GPU_CHECK_BIN:-build-gpu-check}
commit=${GPU_CHECK_COMMIT:-$(cat "$bin/commit" 2>/dev/null || git rev-parse --short HEAD 2>/dev/null || echo unknown)}
part machine "gpu=$(ask name)" "driver=$(ask driver_version)" "memory=$(ask memory.total)" "clocks=$(ask clocks.sm,clocks.max.sm)" \
  "date=$(date -u +%Y-%m-%d)" "commit=$commit" "sources=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)"

if [ ! -x "$bin/test_cuda_device" ] || [ ! -x "$bin/gpu_bench" ]; then
  bin=$work/bin
  mkdir -p "$bin"
  capability=$(ask compute_cap | tr -d .)
  cat >"$work/build.sh" <<BUILD
object() { nvcc -std=c++17 -O3 -gencode arch=compute_$capability,code=sm_$capability -Inative -Itest/native -Itest/native/cuda -x cu -c "\$1" -o "$bin/\$(echo "\$1" | tr / _).o"; }
export -f object
# The longest first.
ls -S native/cuda/*.cpp test/native/cuda/*.cpp test/native/cuda/bench/*.cpp | xargs -P "$(nproc)" -I{} bash -c 'object {}' || exit
nvcc -cudart static -o "$bin/test_cuda_device" "$bin"/native_cuda_*.o \$(ls "$bin"/test_native_cuda_*.o | grep -v _bench_) &&
nvcc -cudart static -o "$bin/gpu_bench" "$bin"/native_cuda_*.o "$bin"/test_native_cuda_bench_*.o "$bin"/test_native_cuda_stored_weights.cpp.o
BUILD
  if ! limited 240 bash "$work/build.sh"; then
    part build "failed=$(last_words)"
    cat "$out"
    exit 1
  fi
  part build "from=source" "nvcc=$(nvcc --version | tail -1)"
else
  part build "from=$bin"
fi

wrong=0
checked tests 90 "$bin/test_cuda_device" || wrong=1
if [ "$wrong" = 1 ] && command -v compute-sanitizer >/dev/null; then
  checked memcheck 60 compute-sanitizer --tool memcheck --print-limit 5 "$bin/test_cuda_device" || true
fi
if [ -x "$bin/test_cuda_home" ] && [ -f "$bin/latent-cuda.so" ]; then
  LATENT_CUDA_LIBRARY=$(realpath "$bin/latent-cuda.so") LATENT_TEST_FIXTURES=$PWD/test/fixtures \
    checked goldens 90 "$bin/test_cuda_home" || wrong=1
else
  part goldens "skipped=no test_cuda_home beside the other programs"
fi

# backend KIND: the addon's operations and an image on this backend against the CPU's, and the times of the embedded model.
backend() {
  local kind=$1 variable library=$bin/latent-$1.so
  variable=LATENT_$(echo "$kind" | tr a-z- A-Z_)_LIBRARY
  [ -f "$library" ] || library=build/Release/latent-$kind.so
  if ! command -v node >/dev/null || [ ! -f build/Release/latent.node ] || [ ! -f dist/cli/main.js ] || [ ! -f "$library" ]; then
    part "doctor_$kind" "skipped=node, the built addon or latent-$kind.so is missing"
    return
  fi
  library=$(realpath "$library")
  measure "doctor_$kind" 60 env "$variable=$library" node dist/cli/main.js doctor --device "$kind" --json || [ $? = 124 ] || wrong=1  # 124: no time
  measure "bench_$kind" 60 env "$variable=$library" node dist/cli/main.js bench --device "$kind" --json || true
}

measure kernels 90 "$bin/gpu_bench" --only kernels || wrong=1

torch=no
"$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null && torch=yes
weights=()
if [ "$torch" = yes ]; then
  if limited 90 "$python" scripts/gpu-baseline.py export "$work/weights"; then
    weights=(--weights "$work/weights")
  else
    part export "failed=$(last_words)"
  fi
else
  part torch "skipped=python3 has no torch with CUDA: no comparison, random weights"
fi
measure networks 150 "$bin/gpu_bench" --only networks ${weights[@]+"${weights[@]}"} || wrong=1

backend cuda

if [ "$torch" = yes ]; then
  measure torch_eager 70 "$python" scripts/gpu-baseline.py networks eager || true
  measure torch_kernels 70 "$python" scripts/gpu-baseline.py kernels "$work/kernels.json" || true
  measure torch_compiled 180 "$python" scripts/gpu-baseline.py networks compiled || true
fi
for kind in vulkan ggml-cuda; do backend "$kind"; done
if command -v compute-sanitizer >/dev/null; then
  checked racecheck 60 compute-sanitizer --tool racecheck --print-limit 5 "$bin/test_cuda_device" product_bf16 || true
fi
part end "seconds=$SECONDS" "clocks=$(ask clocks.sm,clocks.max.sm)" "wrong=$wrong"
cat "$out"
exit "$wrong"
