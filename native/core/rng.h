#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/span.h"

namespace latent {

class CancelToken;

/// Mersenne Twister MT19937, seeded and read as in torch's CPU generator: the same stream of 32-bit words, uniforms and normals.
/// Source: Matsumoto & Nishimura 1998; ATen CPUGeneratorImpl / DistributionTemplates.
class TorchGenerator {
public:
    /// Only the low 32 bits of the seed are used, as in torch.
    explicit TorchGenerator(uint64_t seed);

    uint32_t next_u32();
    /// Two words, high word first.
    uint64_t next_u64();
    float uniform_float();    // [0, 1), 24 bits of one word
    double uniform_double();  // [0, 1), 53 bits of two words
    /// One normal in double through the cached pair of torch's scalar path.
    double normal_double();

    /// torch.randn(n): fewer than 16 elements use the scalar path (cached second value), more use the block Box-Muller path.
    /// Throws aborted soon after `cancel` is set.
    void randn(Span<float> out, const CancelToken * cancel = nullptr);

private:
    void refill();
    std::array<uint32_t, 624> state_{};
    size_t next_ = 624;
    bool has_cached_ = false;
    double cached_ = 0;
};

/// Normals of torch's CUDA generator: Philox 4x32-10, counter = (offset, 0, element, 0), key = seed, Box-Muller.
/// Each call of randn advances the offset by one, as successive torch.randn calls on a device generator.
/// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
class PhiloxGenerator {
public:
    explicit PhiloxGenerator(uint64_t seed, uint32_t offset = 0) : seed_(seed), offset_(offset) {}
    /// Throws aborted soon after `cancel` is set.
    void randn(Span<float> out, const CancelToken * cancel = nullptr);
    uint32_t offset() const { return offset_; }

    /// Four words for one counter and key.
    static std::array<uint32_t, 4> block(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

private:
    uint64_t seed_;
    uint32_t offset_;
};

/// numpy.random.RandomState(seed).randn: 53-bit uniforms, polar method with a cached second value.
class NumpyGenerator {
public:
    explicit NumpyGenerator(uint32_t seed) : words_(seed) {}
    double normal();
    void randn(Span<float> out);

private:
    TorchGenerator words_;
    bool has_cached_ = false;
    double cached_ = 0;
};

enum class RngKind { philox, mt19937 };

/// "philox" or "mt19937"; anything else throws invalid_argument.
RngKind parse_rng_kind(const std::string & name);

/// The source of a solver's normals.
class NoiseSource {
public:
    virtual ~NoiseSource() = default;
    /// Fills `out` (all batch rows, row-major) with standard normals.
    virtual void normal(Span<float> out) = 0;
    /// Noise for the step between two noise levels, with unit variance. A Brownian path overrides this; others draw new normals.
    virtual void interval(double sigma, double sigma_next, Span<float> out) {
        (void)sigma;
        (void)sigma_next;
        normal(out);
    }
};

/// One generator per image: row i of a batch gets the same noise as a separate run with seed + i.
class SeededNoise : public NoiseSource {
public:
    /// `rows` generators with seeds seed, seed + 1, ... (modulo 2^64).
    SeededNoise(RngKind kind, uint64_t seed, size_t rows);
    SeededNoise(RngKind kind, const std::vector<uint64_t> & seeds);
    /// out.size() must be a multiple of the number of rows.
    void normal(Span<float> out) override { normal(out, nullptr); }
    /// Throws aborted soon after `cancel` is set.
    void normal(Span<float> out, const CancelToken * cancel);
    size_t rows() const { return mt_.empty() ? philox_.size() : mt_.size(); }

private:
    void add(RngKind kind, uint64_t seed);
    std::vector<TorchGenerator> mt_;
    std::vector<PhiloxGenerator> philox_;
};

/// A single draw: the start noise of createNoise. Skips `offset` earlier draws of the same size. Throws aborted soon after
/// `cancel` is set.
void fill_noise(RngKind kind, uint64_t seed, uint32_t offset, Span<float> out, const CancelToken * cancel = nullptr);

}  // namespace latent
