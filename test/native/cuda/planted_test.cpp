#include <functional>
#include <string>

#include "check.h"
#include "device_values.h"

// The host shim must see what is wrong with a kernel, and so must the machine for PTX. A product of 64x64 tiles with every
// mistake that pipelines are prone to.

#if !defined(__CUDACC__) || defined(LATENT_PTX_FOR_HOST)  // mistakes are not for a GPU

using namespace cuda_test;
using namespace latent::cuda;

namespace {

enum class Plant {
    none,
    no_barrier,        // stages are read before the other threads' copies are there
    short_wait,        // one group too few is waited for
    stage_too_few,     // a stage is overwritten while it is read
    wrong_row,         // an address of ldmatrix that is off by a row
    wrong_place,       // rows of the result that are off by eight
    outside,           // a copy behind the end of shared memory
    misaligned,        // a copy to an odd place
    ended_early,       // a thread that leaves before a barrier
    divergent,         // half of a warp in another collective
    uncommitted,       // copies that nothing waits for
    unwritten_shared,  // shared memory that nobody wrote is read
    odd_store,         // a vector is written to an address that is not a multiple of its size
    // Without an effect on the result here: seen where accesses to memory are watched.
    early_write,   // shared memory is written while others may still read it
    double_write,  // two threads write the same number of the result
};

constexpr int kSize = 64, kRow = 72, kStages = 3, kSide = 64;

/// y[64][64] = a[64][k] b[64][k]^T by four warps of 32x32.
template <Plant plant>
__global__ void planted_kernel(const bf16 * a, const bf16 * b, float * y, int k) {
    LATENT_SHARED(shared);
    bf16 * const as = reinterpret_cast<bf16 *>(shared);
    bf16 * const bs = as + kStages * kSize * kRow;
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const int steps = k / kSide, stages = plant == Plant::stage_too_few ? kStages - 1 : kStages;
    if (plant == Plant::ended_early && thread == 5) return;
    const auto fetch = [&](int step) {
        const int stage = step % stages;
        for (int i = thread; i < kSize * 8; i += 128) {
            const int row = i / 8, column = i % 8 * 8;
            bf16 * to = as + (stage * kSize + row) * kRow + column;
            if (plant == Plant::outside && i == 77) to += 1 << 20;
            if (plant == Plant::misaligned && i == 77) to += 4;
            if (plant == Plant::unwritten_shared && i == 100) continue;
            cp_async16(to, a + row * k + step * kSide + column, true);
            cp_async16(bs + (stage * kSize + row) * kRow + column, b + row * k + step * kSide + column, true);
        }
    };
    for (int step = 0; step < kStages - 1; ++step) {
        if (step < steps) fetch(step);
        cp_async_commit();
    }
    float c[2][4][4] = {};
    const int wm = warp / 2 * 32, wn = warp % 2 * 32;
    for (int step = 0; step < steps; ++step) {
        cp_async_wait<plant == Plant::short_wait ? kStages - 1 : kStages - 2>();
        if (plant != Plant::no_barrier) sync_threads();
        if (step + kStages - 1 < steps) fetch(step + kStages - 1);
        if (plant != Plant::uncommitted) cp_async_commit();
        const bf16 * ta = as + step % stages * kSize * kRow;
        const bf16 * tb = bs + step % stages * kSize * kRow;
        if (plant == Plant::divergent && lane < 16) shuffle_xor(0, 1);
        for (int at = 0; at < kSide; at += 16) {
            uint32_t fa[2][4], fb[2][4];
            for (int i = 0; i < 2; ++i) {
                const int off = plant == Plant::wrong_row && i == 1 ? 1 : 0;
                ldmatrix_x4(fa[i], ta + (wm + i * 16 + lane % 16 - off) * kRow + at + lane / 16 * 8);
                ldmatrix_x4(fb[i], tb + (wn + i * 16 + lane / 16 * 8 + lane % 8) * kRow + at + lane / 8 % 2 * 8);
            }
            for (int i = 0; i < 2; ++i) {
                for (int j = 0; j < 4; ++j) mma(bf16{}, c[i][j], fa[i], &fb[j / 2][j % 2 * 2]);
            }
        }
    }
    if (plant == Plant::early_write) as[(steps - 1) % stages * kSize * kRow + thread] = bf16{0};
    if (plant == Plant::odd_store) {
        sync_threads();
        const float zeros[8] = {};
        store8(as + thread * 16 + 2, zeros);
    }
    for (int i = 0; i < 2; ++i) {
        for (int j = 0; j < 4; ++j) {
            if (plant == Plant::double_write && thread == 1 && i + j == 0) y[0] = c[0][0][0];  // and later by thread 0
            for (int e = 0; e < 4; ++e) {
                const int row = wm + i * 16 + (e / 2 ^ (plant == Plant::wrong_place ? 1 : 0)) * 8 + lane / 4;
                y[row * kSize + wn + j * 8 + lane % 4 * 2 + e % 2] = c[i][j][e];
            }
        }
    }
}

/// What the shim says of a run: "" where the result is right, the fault, or "wrong result".
template <Plant plant>
std::string outcome(unsigned seed) {
    test_seed(seed);
    constexpr int k = 6 * kSide;
    Numbers numbers(seed);
    const auto a = as<bf16>(numbers.list(kSize * k)), b = as<bf16>(numbers.list(kSize * k));
    const Bytes da = to_device<bf16>(a), db = to_device<bf16>(b), y = room<float>(kSize * kSize);
    std::vector<double> expected(kSize * kSize, 0.0);
    for (int m = 0; m < kSize; ++m) {
        for (int n = 0; n < kSize; ++n) {
            for (int i = 0; i < k; ++i) expected[m * kSize + n] += static_cast<double>(a[m * k + i]) * b[n * k + i];
        }
    }
    try {
        launch(planted_kernel<plant>, dim3(1), 128, 2 * kStages * kSize * kRow * sizeof(bf16), nullptr,
               static_cast<const bf16 *>(da.data()), static_cast<const bf16 *>(db.data()), static_cast<float *>(y.data()), k);
    } catch (const std::exception & e) {
        return e.what();
    }
    return error_of(from_device<float>(y), expected) < 1e-5 ? "" : "wrong result";
}

template <Plant plant>
void expect(const std::string & what) {
    for (unsigned seed = 1; seed <= 6; ++seed) {
        const std::string said = outcome<plant>(seed);
        if (said.find(what) == std::string::npos || (what.empty() && !said.empty()))
            check::fail(__FILE__, __LINE__,
                        "mistake " + std::to_string(static_cast<int>(plant)) + ", seed " + std::to_string(seed) + ": \"" + said +
                            "\" in place of \"" + what + "\"");
    }
}

}  // namespace

TEST(planted_mistakes_are_seen) {
#ifdef LATENT_WATCHED
    constexpr bool watched = true;
#else
    constexpr bool watched = false;
#endif
    expect<Plant::none>("");
    expect<Plant::no_barrier>(watched ? "shared memory: " : "wrong result");
    expect<Plant::short_wait>(watched ? "copy that is under way" : "wrong result");
    expect<Plant::stage_too_few>(watched ? "shared memory: " : "wrong result");
    expect<Plant::wrong_row>("wrong result");
    expect<Plant::wrong_place>("wrong result");
    expect<Plant::outside>("outside shared memory");
    expect<Plant::misaligned>("not aligned");
    expect<Plant::ended_early>("a thread ended while others wait");
    expect<Plant::divergent>("different collectives");
    expect<Plant::uncommitted>(watched ? "copy that is under way" : "not committed");
    expect<Plant::unwritten_shared>("wrong result");
    expect<Plant::odd_store>("not aligned");
    if (!watched) return;
    expect<Plant::early_write>("shared memory: a thread writes what another one reads");
    expect<Plant::double_write>("device memory: two threads write the same place");
}

#endif
