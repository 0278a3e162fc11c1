#include "kernels/peak/peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <thread>

#include "core/cpu.h"
#include "core/error.h"
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
    static constexpr int lanes = 1;
    static float load(const float * x) { return *x; }
    static float sum(float a, float b) { return a + b; }
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

/// The most rounds per second, over slices of a few milliseconds. run(rounds) returns a value, so that nothing is left out.
template <typename Run>
double best_rate(double seconds, Run run) {
    long rounds = 1;
    double best = 0;
    volatile float sink = 0;
    for (const auto start = Clock::now(); best == 0 || seconds_since(start) < seconds;) {
        const auto slice = Clock::now();
        sink = sink + run(rounds);
        const double taken = seconds_since(slice);
        if (taken < 0.002) {
            rounds *= 4;
        } else {
            best = std::max(best, static_cast<double>(rounds) / taken);
        }
    }
    return best;
}

/// Calls work(thread) on `threads` threads at the same time; on fewer if the system has no more.
template <typename Work>
void on_threads(int threads, Work work) {
    std::vector<std::thread> pool;
    pool.reserve(static_cast<size_t>(threads));
    try {
        for (int i = 1; i < threads; ++i) pool.emplace_back([&, i] { work(static_cast<size_t>(i)); });
    } catch (const std::exception &) {
        // what is measured is a sum over the threads that run
    }
    work(size_t{0});
    for (std::thread & thread : pool) thread.join();
}

double total(const std::vector<double> & values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum;
}

}  // namespace

PeakLoop peak_f32_portable() {
    return float_loop<PeakPortable>("portable");
}

std::vector<Peak> measure_peak(int threads, double seconds) {
    kernels_allowed("portable");  // rejects a wrong LATENT_KERNELS before measuring
    threads = std::max(1, threads);
    std::vector<Peak> peaks;
    for (const PeakLoop & loop : loops()) {
        std::vector<double> rates(static_cast<size_t>(threads), 0.0);
        on_threads(threads, [&](size_t i) { rates[i] = best_rate(seconds, loop.run) * loop.operations * 1e-9; });
        peaks.push_back({loop.format, loop.instructions, total(rates)});
    }
    return peaks;
}

std::vector<Bandwidth> measure_bandwidth(int threads, double seconds) {
    threads = std::max(1, threads);
    const PeakLoop loop = loops().front();
    const int64_t whole = std::max<int64_t>((int64_t{256} << 20) / threads, int64_t{16} << 20);
    std::vector<Bandwidth> out;
    for (const int64_t bytes : {int64_t{16} << 10, int64_t{512} << 10, int64_t{4} << 20, whole >> 20 << 20}) {
        const size_t count = static_cast<size_t>(bytes) / sizeof(float);
        std::vector<double> rates(static_cast<size_t>(threads), 0.0);
        std::atomic<int> ready{0};
        std::atomic<bool> failed{false}, over{false};
        on_threads(threads, [&](size_t i) {
            std::vector<float> x;
            try {
                x.assign(count, 1.0f);  // by the thread that reads it, so that it lies near its core
            } catch (const std::bad_alloc &) {
                failed = true;
            }
            ready.fetch_add(1);
            if (i == 0) {  // no thread may still be filling its memory
                const auto start = Clock::now();
                while (ready.load() < threads && seconds_since(start) < 10) std::this_thread::yield();
            }
            volatile float sink = 0;
            double read = 0;
            const auto start = Clock::now();
            while (!failed && !over) {
                sink = sink + loop.read(x.data(), static_cast<long>(count));
                read += static_cast<double>(bytes);
                if (i == 0 && seconds_since(start) >= seconds) over = true;
            }
            rates[i] = read / seconds_since(start) * 1e-9;
        });
        if (failed) {
            throw Error(ErrorCode::out_of_memory,
                        "There is no memory to measure its bandwidth: " + std::to_string(bytes >> 20) + " MiB per thread");
        }
        out.push_back({bytes, total(rates)});
    }
    return out;
}

}  // namespace latent::kernels
