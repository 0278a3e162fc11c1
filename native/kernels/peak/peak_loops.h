#pragma once

// The chains must stay in registers: without full unrolling compilers keep the array in memory.
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
    /// The sum of `count` floats, a multiple of 256, at the speed of memory; null where another loop of the processor has it.
    float (*read)(const float * x, long count) = nullptr;
};

/// Independent chains of one multiply-add instruction. `Set` is a struct in the unnamed namespace of the translation unit, which
/// keeps this instance of the template local to it: Vector (a register), chains (enough to hide the latency), operations (of one
/// instruction), first(chain), add(vector), and value(vector), a number derived from it.
template <typename Set>
float run_chains(long iterations) {
    const Set set(iterations);
    typename Set::Vector sums[Set::chains];
    LATENT_UNROLL
    for (int c = 0; c < Set::chains; ++c) sums[c] = Set::first(c);
    for (long i = 0; i < iterations; ++i) {
        LATENT_UNROLL
        for (int c = 0; c < Set::chains; ++c) sums[c] = set.add(sums[c]);
    }
    float total = 0;
    LATENT_UNROLL
    for (int c = 0; c < Set::chains; ++c) total += Set::value(sums[c]);
    return total;
}

/// For sets of float32 vectors, which also have lanes, load(address) and sum(a, b).
template <typename Set>
float read_chains(const float * x, long count) {
    constexpr int kChains = 8;
    typename Set::Vector sums[kChains];
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) sums[c] = Set::first(0);
    for (long i = 0; i < count; i += kChains * Set::lanes) {
        LATENT_UNROLL
        for (int c = 0; c < kChains; ++c) sums[c] = Set::sum(sums[c], Set::load(x + i + c * Set::lanes));
    }
    float total = 0;
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) total += Set::value(sums[c]);
    return total;
}

template <typename Set>
PeakLoop peak_loop(const char * format, const char * instructions) {
    return {format, instructions, Set::operations * Set::chains, run_chains<Set>};
}

/// With a loop that reads.
template <typename Set>
PeakLoop float_loop(const char * instructions) {
    PeakLoop loop = peak_loop<Set>("f32", instructions);
    loop.read = read_chains<Set>;
    return loop;
}

// One per instruction set, in the translation unit of that set.
PeakLoop peak_f32_portable();
PeakLoop peak_f32_avx2();
PeakLoop peak_f32_avx512();
PeakLoop peak_bf16_avx512bf16();
PeakLoop peak_bf16_amx();
PeakLoop peak_int8_amx();
PeakLoop peak_int8_avx512vnni();
PeakLoop peak_int8_avxvnni();
PeakLoop peak_f32_neon();
PeakLoop peak_bf16_neonbf16();
PeakLoop peak_int8_neondotprod();
PeakLoop peak_int8_neoni8mm();

}  // namespace latent::kernels
