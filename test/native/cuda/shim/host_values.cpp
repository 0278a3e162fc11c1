#include <cmath>
#include <cstring>
#include <vector>

#include "cuda/device_code.h"

// 16-bit values on the host.

namespace latent::cuda {

float to_float(bf16 v) {
    const uint32_t b = uint32_t(v.bits) << 16;
    float f;
    std::memcpy(&f, &b, 4);
    return f;
}

static float half_value(uint16_t h) {
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    float f = exponent == 0 ? std::ldexp(float(mantissa), -24) : std::ldexp(float(mantissa + 1024), exponent - 25);
    if (exponent == 31) f = mantissa ? NAN : INFINITY;
    return h & 0x8000 ? -f : f;
}

float to_float(f16 v) {
    static const std::vector<float> table = [] {
        std::vector<float> t(65536);
        for (size_t i = 0; i < t.size(); ++i) t[i] = half_value(static_cast<uint16_t>(i));
        return t;
    }();
    return table[v.bits];
}

void from_float(float f, bf16 & v) {
    uint32_t b;
    std::memcpy(&b, &f, 4);
    v.bits = f != f ? 0x7fff : static_cast<uint16_t>((b + 0x7fff + ((b >> 16) & 1)) >> 16);
}

void from_float(float f, f16 & v) {
    const uint16_t sign = std::signbit(f) ? 0x8000 : 0;
    const float a = std::fabs(f);
    if (f != f) {
        v.bits = 0x7fff;
    } else if (a >= 65520.0f) {
        v.bits = sign | 0x7c00;
    } else if (a < 6.103515625e-5f) {
        v.bits = sign | static_cast<uint16_t>(std::nearbyint(a * 16777216.0f));  // subnormal; may round up into the normal
    } else {
        uint32_t b;
        std::memcpy(&b, &a, 4);
        b += 0xfff + ((b >> 13) & 1);
        v.bits = sign | static_cast<uint16_t>((b >> 13) - (112u << 10));
    }
}

}  // namespace latent::cuda
