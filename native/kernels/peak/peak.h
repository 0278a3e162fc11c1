#pragma once

#include <string>
#include <vector>

namespace latent::kernels {

/// Arithmetic peak of this machine in one format, measured with independent multiply-accumulate chains in registers.
struct Peak {
    std::string format;        // f32 | bf16 | int8
    std::string instructions;  // the instruction set used, e.g. "avx512"
    double gflops = 0;         // 2 operations per multiply-accumulate, all threads together
};

/// Runs `threads` threads for about `seconds` per format that the processor supports (f32 always). The best of several slices
/// counts, so that other load affects the result less.
std::vector<Peak> measure_peak(int threads, double seconds = 0.2);

}  // namespace latent::kernels
