#include "check.h"
#include "device_values.h"

// The primitives that no kernel's result would show by itself.

using namespace cuda_test;
using namespace latent::cuda;

namespace {

/// Every thread counts itself; lanes add up what the others hold, in five exchanges.
__global__ void counting_kernel(uint32_t * count, float * sums) {
    atomic_add(count, 1u);
    float v = static_cast<float>(threadIdx.x + 1000 * blockIdx.x);
    for (int mask = 16; mask > 0; mask /= 2) v += shuffle_xor(v, mask);
    sync_warp();
    sums[blockIdx.x * 64 + threadIdx.x] = v;
}

__global__ void gelu_kernel(const float * x, float * y) {
    y[threadIdx.x] = gelu(x[threadIdx.x]);
}

}  // namespace

TEST(primitives_of_warps) {
    const uint32_t zero = 0;
    const Bytes count(&zero, 4), sums = room<float>(3 * 64);
    launch(counting_kernel, dim3(3), 64, 0, nullptr, static_cast<uint32_t *>(count.data()), static_cast<float *>(sums.data()));
    uint32_t counted = 0;
    count.read(&counted);
    CHECK(counted == 3 * 64);
    const auto got = from_device<float>(sums);
    for (int i = 0; i < 192; ++i) CHECK(got[i] == static_cast<float>(i / 64 * 32000 + (i % 64 < 32 ? 496 : 1520)));
}

TEST(primitives_gelu) {
    std::vector<float> x;
    for (int i = 0; i < 256; ++i) x.push_back(static_cast<float>(i - 128) / 16);
    const Bytes dx = to_device<float>(x), y = room<float>(256);
    launch(gelu_kernel, dim3(1), 256, 0, nullptr, static_cast<const float *>(dx.data()), static_cast<float *>(y.data()));
    const auto got = from_device<float>(y);
    for (int i = 0; i < 256; ++i) CHECK_NEAR(got[i], gate(x[i], 2), 1e-6);
}

/// Every float16 comes back from float32, and what lies between goes to the nearer one, to the even one in the middle.
TEST(primitives_rounding) {
    std::vector<float> all, between;
    for (int i = 0; i < 0x7c00; ++i) all.push_back(value(f16{static_cast<uint16_t>(i)}));
    for (size_t i = 0; i + 1 < all.size(); ++i) between.push_back((all[i] + all[i + 1]) / 2);
    const auto pad = [](std::vector<float> v) {
        v.resize((v.size() + 7) / 8 * 8, 0.0f);
        return v;
    };
    const auto through = [&](const std::vector<float> & v) {
        std::vector<float> back;
        for (const float each : pad(v)) {
            f16 half;
#ifdef __CUDACC__
            half.bits = __half_as_ushort(__float2half_rn(each));
#else
            from_float(each, half);
#endif
            back.push_back(value(half));
        }
        back.resize(v.size());
        return back;
    };
    CHECK(through(all) == all);
    const auto halves = through(between);
    for (size_t i = 0; i < halves.size(); ++i) CHECK(halves[i] == all[i % 2 ? i + 1 : i]);
}
