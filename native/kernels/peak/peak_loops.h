#pragma once

// The chains must be registers: without full unrolling compilers keep the array in memory.
#if defined(__GNUC__)
#define LATENT_UNROLL _Pragma("GCC unroll 32")
#else
#define LATENT_UNROLL
#endif

namespace latent::kernels {

/// A register-only loop: runs `iterations` rounds, returns a value that depends on all of them. `operations` per round.
struct PeakLoop {
    const char * format;
    const char * instructions;
    double operations;
    float (*run)(long iterations);
};

// One per instruction set; each lives in the translation unit of that set.
PeakLoop peak_f32_portable();
PeakLoop peak_f32_avx2();
PeakLoop peak_f32_avx512();
PeakLoop peak_bf16_avx512bf16();
PeakLoop peak_int8_avx512vnni();
PeakLoop peak_int8_avxvnni();
PeakLoop peak_f32_neon();
PeakLoop peak_bf16_neonbf16();
PeakLoop peak_int8_neondotprod();
PeakLoop peak_int8_neoni8mm();

}  // namespace latent::kernels
