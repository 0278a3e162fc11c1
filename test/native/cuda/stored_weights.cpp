#include "stored_weights.h"

namespace cuda_test {
namespace {

using latent::cuda::bf16;
using latent::cuda::f16;

void put(std::vector<uint8_t> & bytes, uint16_t v) {
    bytes.push_back(static_cast<uint8_t>(v & 255)), bytes.push_back(static_cast<uint8_t>(v >> 8));
}

template <typename T>
void plain(StoredWeights & w, size_t count, float scale, Numbers & numbers) {
    std::vector<T> typed(count);
    for (T & each : typed) each = rounded<T>(numbers.next(scale)), w.values.push_back(value(each));
    w.bytes.resize(count * sizeof(T));
    std::memcpy(w.bytes.data(), typed.data(), w.bytes.size());
}

void q8_0(StoredWeights & w, float scale, Numbers & numbers) {
    const f16 d = rounded<f16>(std::fabs(numbers.next(scale / 100)) + scale / 400);
    put(w.bytes, d.bits);
    for (int i = 0; i < 32; ++i) {
        const auto q = static_cast<int8_t>(static_cast<int>(numbers.bits() % 255) - 127);
        w.bytes.push_back(static_cast<uint8_t>(q));
        w.values.push_back(value(d) * static_cast<float>(q));
    }
}

void q4_0(StoredWeights & w, float scale, Numbers & numbers) {
    const f16 d = rounded<f16>(numbers.next(scale / 6));  // may be negative
    put(w.bytes, d.bits);
    float high[16];
    for (int i = 0; i < 16; ++i) {
        const uint32_t a = numbers.bits() % 16, b = numbers.bits() % 16;
        w.bytes.push_back(static_cast<uint8_t>(a | b << 4));
        w.values.push_back(value(d) * static_cast<float>(static_cast<int>(a) - 8));
        high[i] = value(d) * static_cast<float>(static_cast<int>(b) - 8);
    }
    w.values.insert(w.values.end(), high, high + 16);
}

/// Eight scales and eight minima of 6 bits: the first four of each whole in bytes 0..3 and 4..7, the others with their low four
/// bits in bytes 8..11 and their high two in the top of the bytes before.
void q4_k(StoredWeights & w, float scale, Numbers & numbers) {
    const f16 d = rounded<f16>(scale / 400), minimum = rounded<f16>(scale / 60);
    put(w.bytes, d.bits), put(w.bytes, minimum.bits);
    int s[8], m[8];
    for (int i = 0; i < 8; ++i) s[i] = static_cast<int>(numbers.bits() % 64), m[i] = static_cast<int>(numbers.bits() % 64);
    uint8_t q[12];
    for (int i = 0; i < 4; ++i) {
        q[i] = static_cast<uint8_t>(s[i] | (s[i + 4] >> 4) << 6);
        q[i + 4] = static_cast<uint8_t>(m[i] | (m[i + 4] >> 4) << 6);
        q[i + 8] = static_cast<uint8_t>((s[i + 4] & 15) | (m[i + 4] & 15) << 4);
    }
    w.bytes.insert(w.bytes.end(), q, q + 12);
    for (int pair = 0; pair < 4; ++pair) {
        float high[32];
        for (int i = 0; i < 32; ++i) {
            const uint32_t a = numbers.bits() % 16, b = numbers.bits() % 16;
            w.bytes.push_back(static_cast<uint8_t>(a | b << 4));
            const auto of = [&](uint32_t v, int group) {
                const f16 group_scale = rounded<f16>(value(d) * static_cast<float>(s[group]));
                const f16 group_minimum = rounded<f16>(value(minimum) * static_cast<float>(m[group]));
                return value(group_scale) * static_cast<float>(v) - value(group_minimum);
            };
            w.values.push_back(of(a, 2 * pair));
            high[i] = of(b, 2 * pair + 1);
        }
        w.values.insert(w.values.end(), high, high + 32);
    }
}

}  // namespace

StoredWeights StoredWeights::make(int type, int rows, int in, int taps, float scale, Numbers & numbers) {
    StoredWeights w;
    w.type = type, w.rows = rows, w.in = in, w.taps = taps;
    const size_t count = static_cast<size_t>(rows) * static_cast<size_t>(in * taps);
    switch (type) {
        case LATENT_CUDA_F32: plain<float>(w, count, scale, numbers); break;
        case LATENT_CUDA_F16: plain<f16>(w, count, scale, numbers); break;
        case LATENT_CUDA_BF16: plain<bf16>(w, count, scale, numbers); break;
        case LATENT_CUDA_Q8_0:
            while (w.values.size() < count) q8_0(w, scale, numbers);
            break;
        case LATENT_CUDA_Q4_0:
            while (w.values.size() < count) q4_0(w, scale, numbers);
            break;
        case LATENT_CUDA_Q4_K:
            while (w.values.size() < count) q4_k(w, scale, numbers);
            break;
        default: throw std::runtime_error("no such type");
    }
    return w;
}

StoredWeights StoredWeights::of(const std::vector<float> & values, int rows, int in) {
    StoredWeights w;
    w.type = LATENT_CUDA_F32, w.rows = rows, w.in = in, w.values = values;
    w.bytes.resize(values.size() * sizeof(float));
    std::memcpy(w.bytes.data(), values.data(), w.bytes.size());
    return w;
}

}  // namespace cuda_test
