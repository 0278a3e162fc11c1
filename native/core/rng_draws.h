#pragma once

#include <cstdint>

#include "core/rng.h"

// Draws other than normals from a newly seeded generator, for createRandom.

namespace latent {

/// Raw 32-bit words: MT19937's, or Philox's blocks of four in the order of their counters (0, 0, i, 0).
void fill_words(RngKind kind, uint64_t seed, Span<uint32_t> out);
/// torch.rand of the CPU generator: [0, 1), 24 bits each.
void fill_uniform(uint64_t seed, Span<float> out);
/// torch.randint(low, high) of the CPU generator: low <= x < high, both 32-bit (high may be 2^31).
void fill_integers(uint64_t seed, int64_t low, int64_t high, Span<int32_t> out);
/// torch.randperm(out.size()) of the CPU generator.
void fill_permutation(uint64_t seed, Span<int32_t> out);

}  // namespace latent
