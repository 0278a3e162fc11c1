#pragma once

#include <cmath>
#include <cstring>

namespace latent::kernels {
namespace {

/// Four lanes in plain C++: compilers turn these loops into the target's vector instructions (NEON on arm64).
struct Lanes4 {
    static constexpr int kLanes = 4;
    float v[4];

    template <typename F>
    static Lanes4 each(F f) {
        return {{f(0), f(1), f(2), f(3)}};
    }
    static Lanes4 zero() { return set1(0.0f); }
    static Lanes4 set1(float x) { return {{x, x, x, x}}; }
    static Lanes4 load(const float * p) { return {{p[0], p[1], p[2], p[3]}}; }
    void store(float * p) const { std::memcpy(p, v, sizeof(v)); }
    static Lanes4 add(Lanes4 a, Lanes4 b) {
        return each([&](int i) { return a.v[i] + b.v[i]; });
    }
    static Lanes4 sub(Lanes4 a, Lanes4 b) {
        return each([&](int i) { return a.v[i] - b.v[i]; });
    }
    static Lanes4 mul(Lanes4 a, Lanes4 b) {
        return each([&](int i) { return a.v[i] * b.v[i]; });
    }
    static Lanes4 fma(Lanes4 a, Lanes4 b, Lanes4 c) {
        return each([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
    }
    static Lanes4 div(Lanes4 a, Lanes4 b) {
        return each([&](int i) { return a.v[i] / b.v[i]; });
    }
    static Lanes4 max(Lanes4 a, Lanes4 b) {
        return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
    }
    static float sum(Lanes4 a) { return (a.v[0] + a.v[1]) + (a.v[2] + a.v[3]); }
    static Lanes4 exp(Lanes4 x) {
        return each([&](int i) { return std::exp(x.v[i]); });
    }
};

}  // namespace
}  // namespace latent::kernels
