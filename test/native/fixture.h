#pragma once

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "core/json.h"

namespace fixture {

inline std::string text(const std::string & name) {
    const char * moved = std::getenv("LATENT_TEST_FIXTURES");  // of a program that was built elsewhere
    std::ifstream in(std::string(moved ? moved : LATENT_FIXTURES) + "/" + name, std::ios::binary);
    if (!in) throw latent::Error(latent::ErrorCode::io, "fixture missing: " + name);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

inline latent::Json json(const std::string & name) {
    return latent::parse_json(text(name), name);
}

/// The golden formula: FNV-1a of the key, counter, MurmurHash3 finaliser; values of unit variance.
inline std::vector<float> formula(const std::string & key, size_t count, uint32_t seed = 0) {
    uint32_t h = 0x811C9DC5u;
    for (const unsigned char c : key) h = (h ^ c) * 0x01000193u;
    h ^= seed;
    std::vector<float> out(count);
    for (size_t i = 0; i < count; ++i) {
        uint32_t x = h + static_cast<uint32_t>(i) * 0x9E3779B9u;
        x ^= x >> 16, x *= 0x85EBCA6Bu, x ^= x >> 13, x *= 0xC2B2AE35u, x ^= x >> 16;
        out[i] = static_cast<float>((static_cast<double>(x) / 2147483648.0 - 1.0) * 1.7320508075688772);
    }
    return out;
}

}  // namespace fixture
