#include "kernels/peak/peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <thread>

#include "core/cpu.h"
#include "kernels/common/choice.h"
#include "kernels/peak/peak_loops.h"

namespace latent::kernels {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

struct PeakPortable {
    using Vector = float;
    static constexpr int chains = 32;
    static constexpr double operations = 2.0;
    explicit PeakPortable(long) {}
    static float first(int chain) { return static_cast<float>(chain); }
    float add(float sum) const { return sum * 0.999f + 0.001f; }
    static float value(float sum) { return sum; }
};

/// The loops per format, the best instruction set first.
std::vector<PeakLoop> loops() {
    std::vector<PeakLoop> out;
#if defined(__x86_64__) || defined(_M_X64)
    const CpuFeatures & cpu = cpu_features();
    out.push_back(cpu.avx512 ? peak_f32_avx512() : cpu.avx2 && cpu.fma ? peak_f32_avx2() : peak_f32_portable());
    if (cpu.avx512 && cpu.avx2 && cpu.fma) out.push_back(peak_f32_avx2());
#if defined(LATENT_AMX)
    if (cpu.amx_bf16) out.push_back(peak_bf16_amx());
#endif
    if (cpu.avx512_bf16) out.push_back(peak_bf16_avx512bf16());
#if defined(LATENT_AMX)
    if (cpu.amx_int8) out.push_back(peak_int8_amx());
#endif
    if (cpu.avx512_vnni) out.push_back(peak_int8_avx512vnni());
    if (cpu.avx_vnni) out.push_back(peak_int8_avxvnni());
#elif defined(__aarch64__) || defined(_M_ARM64)
    const CpuFeatures & cpu = cpu_features();
    out.push_back(peak_f32_neon());
#if defined(LATENT_NEONBF16)
    if (cpu.bf16) out.push_back(peak_bf16_neonbf16());
#endif
#if defined(LATENT_NEONI8MM)
    if (cpu.i8mm) out.push_back(peak_int8_neoni8mm());
#endif
#if defined(LATENT_NEONDOTPROD)
    if (cpu.dotprod) out.push_back(peak_int8_neondotprod());
#endif
#else
    out.push_back(peak_f32_portable());
#endif
    return out;
}

double best_rate(const PeakLoop & loop, double seconds) {
    long iterations = 1000;
    double best = 0;
    volatile float sink = 0;
    for (const auto start = Clock::now(); seconds_since(start) < seconds;) {
        const auto slice = Clock::now();
        sink = sink + loop.run(iterations);
        const double taken = seconds_since(slice);
        if (taken < 0.002) {
            iterations *= 4;
        } else {
            best = std::max(best, loop.operations * static_cast<double>(iterations) / taken);
        }
    }
    return best * 1e-9;
}

}  // namespace

PeakLoop peak_f32_portable() {
    return peak_loop<PeakPortable>("f32", "portable");
}

std::vector<Peak> measure_peak(int threads, double seconds) {
    kernels_allowed("portable");  // rejects a wrong LATENT_KERNELS before measuring
    std::vector<Peak> peaks;
    for (const PeakLoop & loop : loops()) {
        std::vector<double> rates(static_cast<size_t>(std::max(1, threads)), 0.0);
        std::vector<std::thread> pool;
        pool.reserve(rates.size());
        try {
            for (size_t i = 1; i < rates.size(); ++i) pool.emplace_back([&, i] { rates[i] = best_rate(loop, seconds); });
        } catch (const std::exception &) {
            // no more threads available: the sum is over those that run
        }
        rates[0] = best_rate(loop, seconds);
        for (std::thread & thread : pool) thread.join();
        Peak peak{loop.format, loop.instructions, 0};
        for (const double rate : rates) peak.gflops += rate;
        peaks.push_back(peak);
    }
    return peaks;
}

}  // namespace latent::kernels
