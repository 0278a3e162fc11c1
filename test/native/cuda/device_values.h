#pragma once

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/device_code.h"

// Numbers on the device for tests: on the host shim, or on a GPU where the test is compiled by nvcc.

namespace cuda_test {

inline void must(cudaError_t error) {
    if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

/// Waits for what was launched; a fault in it throws.
inline void settle() {
    must(cudaStreamSynchronize(nullptr));
    must(cudaGetLastError());
}

class Bytes {
public:
    explicit Bytes(size_t count) : count_(count) { must(cudaMalloc(&data_, count ? count : 16)); }
    Bytes(const void * from, size_t count) : Bytes(count) {
        if (count == 0) return;
        must(cudaMemcpyAsync(data_, from, count, cudaMemcpyHostToDevice, nullptr));
        settle();
    }
    ~Bytes() { (void)cudaFree(data_); }
    Bytes(Bytes && other) noexcept : data_(other.data_), count_(other.count_) { other.data_ = nullptr; }
    Bytes(const Bytes &) = delete;
    Bytes & operator=(const Bytes &) = delete;
    void * data() const { return data_; }
    size_t size() const { return count_; }
    void read(void * to) const {
        settle();
        must(cudaMemcpyAsync(to, data_, count_, cudaMemcpyDeviceToHost, nullptr));
        settle();
    }

private:
    void * data_ = nullptr;
    size_t count_ = 0;
};

template <typename T>
T rounded(float v) {
    uint32_t b;
    if constexpr (sizeof(T) == 4) return v;
    if constexpr (std::is_same_v<T, latent::cuda::bf16>) {
        std::memcpy(&b, &v, 4);
        return {static_cast<uint16_t>((b + 0x7fff + ((b >> 16) & 1)) >> 16)};
    } else if constexpr (std::is_same_v<T, latent::cuda::f16>) {
        const float a = std::fabs(v);
        const uint16_t sign = std::signbit(v) ? 0x8000 : 0;
        if (a != a) return {0x7fff};
        if (a < 6.103515625e-5f) return {static_cast<uint16_t>(sign | static_cast<uint16_t>(std::nearbyint(a * 16777216.0f)))};
        std::memcpy(&b, &a, 4);
        b += 0xfff + ((b >> 13) & 1);
        return {static_cast<uint16_t>(sign | static_cast<uint16_t>((b >> 13) - (112u << 10)))};
    }
}

inline float value(float v) {
    return v;
}
inline float value(latent::cuda::bf16 v) {
    const uint32_t b = static_cast<uint32_t>(v.bits) << 16;
    float f;
    std::memcpy(&f, &b, 4);
    return f;
}
inline float value(latent::cuda::f16 v) {
    const int e = v.bits >> 10 & 31, m = v.bits & 1023;
    float f = e ? std::ldexp(static_cast<float>(m + 1024), e - 25) : std::ldexp(static_cast<float>(m), -24);
    if (e == 31) f = m ? NAN : INFINITY;
    return v.bits & 0x8000 ? -f : f;
}

/// What a T makes of each number.
template <typename T>
std::vector<float> as(std::vector<float> v) {
    for (float & each : v) each = value(rounded<T>(each));
    return v;
}

template <typename T>
Bytes to_device(const std::vector<float> & v) {
    std::vector<T> typed(v.size());
    for (size_t i = 0; i < v.size(); ++i) typed[i] = rounded<T>(v[i]);
    return Bytes(typed.data(), typed.size() * sizeof(T));
}

/// Room for `count` values that are NaN until they are written.
template <typename T>
Bytes room(size_t count) {
    return to_device<T>(std::vector<float>(count, NAN));
}

template <typename T>
std::vector<float> from_device(const Bytes & bytes) {
    std::vector<T> typed(bytes.size() / sizeof(T));
    bytes.read(typed.data());
    std::vector<float> v(typed.size());
    for (size_t i = 0; i < v.size(); ++i) v[i] = value(typed[i]);
    return v;
}

/// Numbers in [-scale, scale), the same on every machine.
class Numbers {
public:
    explicit Numbers(uint32_t seed) : at_(seed * 2654435761u + 1) {}
    uint32_t bits() {
        uint32_t i = at_++ * 0x9E3779B9u;
        i ^= i >> 16, i *= 0x85EBCA6Bu, i ^= i >> 13, i *= 0xC2B2AE35u;
        return i ^ i >> 16;
    }
    float next(float scale = 1) { return (static_cast<float>(bits() >> 8) / 8388608.0f - 1) * scale; }
    std::vector<float> list(size_t count, float scale = 1) {
        std::vector<float> v(count);
        for (float & each : v) each = next(scale);
        return v;
    }

private:
    uint32_t at_;
};

/// Rows of `count`, with zeros up to `stride`.
inline std::vector<float> padded_rows(const std::vector<float> & v, size_t count, size_t stride) {
    std::vector<float> out(v.size() / count * stride, 0.0f);
    for (size_t row = 0; row < v.size() / count; ++row) {
        for (size_t i = 0; i < count; ++i) out[row * stride + i] = v[row * count + i];
    }
    return out;
}

inline int padded8(int count) {
    return (count + 7) / 8 * 8;
}

/// Root mean square of the error over that of the expected numbers; infinite where a number is not finite.
inline double error_of(const std::vector<float> & got, const std::vector<double> & expected) {
    double wrong = 0, all = 0;
    if (got.size() != expected.size()) return INFINITY;
    for (size_t i = 0; i < got.size(); ++i) {
        if (!std::isfinite(got[i])) return INFINITY;
        wrong += (got[i] - expected[i]) * (got[i] - expected[i]);
        all += expected[i] * expected[i];
    }
    return all > 0 ? std::sqrt(wrong / all) : wrong > 0 ? INFINITY : 0;
}
/// The largest error of a single number, over the root mean square of the expected ones.
inline double worst_of(const std::vector<float> & got, const std::vector<double> & expected) {
    double worst = 0, all = 0;
    if (got.size() != expected.size()) return INFINITY;
    for (size_t i = 0; i < got.size(); ++i) {
        if (!std::isfinite(got[i])) return INFINITY;
        worst = std::fmax(worst, std::fabs(got[i] - expected[i]));
        all += expected[i] * expected[i];
    }
    return worst / std::sqrt(all / static_cast<double>(got.size()));
}

inline double gate(double v, int kind) {
    switch (kind) {
        case 1: return v / (1 + std::exp(-v));
        case 2: return 0.5 * v * std::erfc(-v * 0.70710678118654752440);
        case 3: return v / (1 + std::exp(-1.702 * v));
        default: return v;
    }
}

#ifdef __CUDACC__
inline void test_seed(unsigned) {}
#else
inline void test_seed(unsigned value) {
    latent_host::seed(value);
}
#endif

}  // namespace cuda_test
