#pragma once

#include <string>
#include <vector>

#include "core/control_group.h"

namespace latent {

/// What this processor and operating system support. Detected once, using only instructions of every x86-64 or arm64.
struct CpuFeatures {
    // x86-64
    bool avx2 = false, fma = false, f16c = false, bmi2 = false;
    bool avx_vnni = false;
    bool avx512 = false;  // F, BW, DQ, VL, and the system saves the registers
    bool avx512_vnni = false, avx512_bf16 = false;
    /// Whether bfloat16 products of AVX-512 take longer than float32 ones, as on Intel's processors: there they are meant for
    /// what AMX cannot do.
    bool slow_avx512_bf16 = false;
    bool amx_bf16 = false, amx_int8 = false;  // and the system lets this process use the tile registers
    // arm64
    bool neon = false, dotprod = false, i8mm = false, bf16 = false;

    /// The minimum for the default binary: ggml is compiled for AVX2, FMA, F16C and BMI2 on x86-64, for NEON on arm64.
    bool meets_floor() const;
    /// Names of the detected features, e.g. {"avx2", "avx512", "avx512_bf16"}.
    std::vector<std::string> names() const;
};

const CpuFeatures & cpu_features();
std::string cpu_brand();

/// Number of cores that this process may use: physical ones if the system tells, limited by its affinity mask and the control
/// group's quota. At least 1.
int usable_cores(const ControlGroup & group = ControlGroup());

}  // namespace latent
