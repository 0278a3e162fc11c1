#pragma once

#if defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>

#include <cstdint>

namespace latent::kernels {
namespace {

/// For TileSet and Int8Set: a first-level cache. Products of 8 and 16 bits read 21 bytes of the panel per cycle on cores with
/// four multiply units, float32 half as many; keeping sums between the taps costs 2 to 3 %.
constexpr int64_t kPanelBytes = int64_t{1} << 16;

struct Neon {
    static constexpr int kLanes = 4;
    float32x4_t v;

    static Neon zero() { return {vdupq_n_f32(0.0f)}; }
    static Neon set1(float x) { return {vdupq_n_f32(x)}; }
    static Neon load(const float * p) { return {vld1q_f32(p)}; }
    void store(float * p) const { vst1q_f32(p, v); }
    static Neon add(Neon a, Neon b) { return {vaddq_f32(a.v, b.v)}; }
    static Neon sub(Neon a, Neon b) { return {vsubq_f32(a.v, b.v)}; }
    static Neon mul(Neon a, Neon b) { return {vmulq_f32(a.v, b.v)}; }
    static Neon fma(Neon a, Neon b, Neon c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
    static Neon div(Neon a, Neon b) { return {vdivq_f32(a.v, b.v)}; }
    static Neon max(Neon a, Neon b) { return {vmaxq_f32(a.v, b.v)}; }
    static float sum(Neon a) { return vaddvq_f32(a.v); }
    static Neon exp(Neon x);
};

}  // namespace
}  // namespace latent::kernels
#endif
