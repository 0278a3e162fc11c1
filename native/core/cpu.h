#pragma once

#include <string>
#include <vector>

#include "core/control_group.h"

namespace latent {

/// What this processor and operating system can run. Detected once, by instructions that every x86-64 or arm64 has.
struct CpuFeatures {
    // x86-64
    bool avx2 = false, fma = false, f16c = false, bmi2 = false;
    bool avx_vnni = false;
    bool avx512 = false;  // F, BW, DQ, VL, and the system saves the registers
    bool avx512_vnni = false, avx512_bf16 = false;
    // arm64
    bool neon = false, dotprod = false, i8mm = false, bf16 = false;

    /// The floor of the default binary: ggml is compiled for AVX2, FMA, F16C and BMI2 on x86-64, for NEON on arm64.
    bool meets_floor() const;
    /// Names of what is there, e.g. {"avx2", "avx512", "avx512_bf16"}.
    std::vector<std::string> names() const;
};

const CpuFeatures & cpu_features();
std::string cpu_brand();

/// Cores that this process may use: physical ones where the system tells, bounded by its affinity mask and by the control group's
/// quota. At least 1.
int usable_cores(const ControlGroup & group = ControlGroup());

}  // namespace latent
