#pragma once

#include <cstdint>

#include "core/rng.h"

// Single draws of a freshly seeded generator other than normals: what createRandom gives.

namespace latent {

/// Raw 32-bit words: MT19937's, or Philox's blocks of four in the order of their counters (0, 0, i, 0).
void fill_words(RngKind kind, uint64_t seed, Span<uint32_t> out);
/// torch.rand of the CPU generator: [0, 1), 24 bits each.
void fill_uniform(uint64_t seed, Span<float> out);
/// torch.randint(low, high) of the CPU generator: low <= x < high, both of 32 bits (high may be 2^31).
void fill_integers(uint64_t seed, int64_t low, int64_t high, Span<int32_t> out);
/// torch.randperm(out.size()) of the CPU generator.
void fill_permutation(uint64_t seed, Span<int32_t> out);

}  // namespace latent
