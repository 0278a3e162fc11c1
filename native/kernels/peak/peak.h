#pragma once

#include <cstdint>
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

/// Bandwidth of reading memory again and again.
struct Bandwidth {
    int64_t bytes = 0;     // read by each thread: which of the caches hold them follows from the size
    double gigabytes = 0;  // 1e9 bytes per second, all threads together
};

/// With 16 KiB per thread, which fit the first-level cache; 512 KiB, the second; 4 MiB, a shared one; and 256 MiB divided among
/// the threads, but at least 16 MiB for each, which only the largest caches hold. All threads read for `seconds` per size. Throws
/// out_of_memory.
std::vector<Bandwidth> measure_bandwidth(int threads, double seconds = 0.2);

}  // namespace latent::kernels
