#include "core/rng.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/job.h"

namespace latent {

namespace {

constexpr double two_pi = 6.283185307179586476925286766559;
constexpr size_t block = 16;

// One block of 16 uniforms in place: halves j and j + 8 become the cosine and sine of the same pair.
// The angle and the radius are rounded to float where torch's float kernel does.
void box_muller_block(float * x) {
    for (size_t j = 0; j < block / 2; ++j) {
        const float u1 = 1.0f - x[j];
        const float log_u1 = static_cast<float>(std::log(static_cast<double>(u1)));
        const double radius = std::sqrt(-2.0f * log_u1);
        const float theta = static_cast<float>(two_pi) * x[j + 8];
        x[j] = static_cast<float>(radius * std::cos(static_cast<double>(theta)));
        x[j + 8] = static_cast<float>(radius * std::sin(static_cast<double>(theta)));
    }
}

// Calls work(begin, end) for pieces of n values, each except the last a multiple of the block, and checks for cancellation before
// each.
template <typename Work>
void in_pieces(size_t n, const CancelToken * cancel, Work work) {
    constexpr size_t piece = size_t{1} << 16;
    for (size_t begin = 0; begin < n; begin += piece) {
        if (cancel) cancel->check();
        work(begin, std::min(n, begin + piece));
    }
}

template <typename Draw>
void block_randn(Span<float> out, const CancelToken * cancel, Draw draw) {
    const size_t n = out.size();
    // Each piece consists of whole blocks, and its uniforms are drawn before any is transformed, so the order is torch's.
    in_pieces(n, cancel, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) out[i] = draw();
        for (size_t i = begin; i + block <= end; i += block) box_muller_block(out.data() + i);
    });
    if (n % block != 0) {  // the last 16 are drawn again, overlapping the previous block
        float * tail = out.data() + (n - block);
        for (size_t i = 0; i < block; ++i) tail[i] = draw();
        box_muller_block(tail);
    }
}

}  // namespace

TorchGenerator::TorchGenerator(uint64_t seed) {
    state_[0] = static_cast<uint32_t>(seed);
    for (uint32_t i = 1; i < state_.size(); ++i) state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
}

void TorchGenerator::refill() {
    const auto twist = [](uint32_t a, uint32_t b) {
        const uint32_t mixed = (a & 0x80000000u) | (b & 0x7fffffffu);
        return (mixed >> 1) ^ ((b & 1u) ? 0x9908b0dfu : 0u);
    };
    const size_t n = state_.size(), m = 397;
    for (size_t i = 0; i < n; ++i) state_[i] = state_[(i + m) % n] ^ twist(state_[i], state_[(i + 1) % n]);
    next_ = 0;
}

uint32_t TorchGenerator::next_u32() {
    if (next_ >= state_.size()) refill();
    uint32_t y = state_[next_++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

uint64_t TorchGenerator::next_u64() {
    const uint64_t high = next_u32();
    return (high << 32) | next_u32();
}

float TorchGenerator::uniform_float() {
    return static_cast<float>(next_u32() & 0xffffffu) * (1.0f / 16777216.0f);
}

double TorchGenerator::uniform_double() {
    return static_cast<double>(next_u64() & ((uint64_t{1} << 53) - 1)) * (1.0 / 9007199254740992.0);
}

double TorchGenerator::normal_double() {
    if (has_cached_) {
        has_cached_ = false;
        return cached_;
    }
    const double theta = two_pi * uniform_double();
    const double radius = std::sqrt(-2.0 * std::log1p(-uniform_double()));
    cached_ = radius * std::sin(theta);
    has_cached_ = true;
    return radius * std::cos(theta);
}

void TorchGenerator::randn(Span<float> out, const CancelToken * cancel) {
    if (out.size() >= block) return block_randn(out, cancel, [this] { return uniform_float(); });
    if (cancel) cancel->check();
    for (float & value : out) value = static_cast<float>(normal_double());
}

double NumpyGenerator::normal() {
    if (has_cached_) {
        has_cached_ = false;
        return cached_;
    }
    const auto uniform = [this] {
        const uint32_t high = words_.next_u32() >> 5, low = words_.next_u32() >> 6;
        return (high * 67108864.0 + low) / 9007199254740992.0;
    };
    double a = 0, b = 0, norm = 0;
    do {
        a = 2.0 * uniform() - 1.0;
        b = 2.0 * uniform() - 1.0;
        norm = a * a + b * b;
    } while (norm >= 1.0 || norm == 0.0);
    const double factor = std::sqrt(-2.0 * std::log(norm) / norm);
    cached_ = factor * a;
    has_cached_ = true;
    return factor * b;
}

void NumpyGenerator::randn(Span<float> out) {
    for (float & value : out) value = static_cast<float>(normal());
}

std::array<uint32_t, 4> PhiloxGenerator::block(std::array<uint32_t, 4> c, std::array<uint32_t, 2> key) {
    for (int round = 0; round < 10; ++round) {
        const uint64_t a = uint64_t{0xD2511F53u} * c[0], b = uint64_t{0xCD9E8D57u} * c[2];
        c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(b),
             static_cast<uint32_t>(a >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(a)};
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
    return c;
}

void PhiloxGenerator::randn(Span<float> out, const CancelToken * cancel) {
    // 2^-32 and 2 pi 2^-32 as float32 constants, the rest in double.
    const double unit = 2.3283064e-10f, angle = 2.3283064e-10f * 6.2831855f;
    const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32)};
    in_pieces(out.size(), cancel, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) {
            const auto words = block({offset_, 0, static_cast<uint32_t>(i), 0}, key);
            const double u = words[0] * unit + unit / 2, v = words[1] * angle + angle / 2;
            out[i] = static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::sin(v));
        }
    });
    ++offset_;
}

}  // namespace latent
