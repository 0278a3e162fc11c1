#include "core/error.h"
#include "core/rng.h"

namespace latent {

RngKind parse_rng_kind(const std::string & name) {
    if (name == "philox") return RngKind::philox;
    if (name == "mt19937") return RngKind::mt19937;
    throw Error(ErrorCode::invalid_argument, "Unknown random generator \"" + name + "\": use \"philox\" or \"mt19937\"");
}

SeededNoise::SeededNoise(RngKind kind, uint64_t seed, size_t rows) {
    for (size_t i = 0; i < rows; ++i) add(kind, seed + i);
}

SeededNoise::SeededNoise(RngKind kind, const std::vector<uint64_t> & seeds) {
    for (const uint64_t seed : seeds) add(kind, seed);
}

void SeededNoise::add(RngKind kind, uint64_t seed) {
    if (kind == RngKind::mt19937)
        mt_.emplace_back(seed);
    else
        philox_.emplace_back(seed);
}

void SeededNoise::normal(Span<float> out, const CancelToken * cancel) {
    const size_t count = rows();
    if (count == 0 || out.size() % count != 0)
        throw Error(ErrorCode::internal,
                    "Noise of " + std::to_string(out.size()) + " values does not divide into " + std::to_string(count) + " rows");
    const size_t row = out.size() / count;
    for (size_t i = 0; i < mt_.size(); ++i) mt_[i].randn(out.subspan(i * row, row), cancel);
    for (size_t i = 0; i < philox_.size(); ++i) philox_[i].randn(out.subspan(i * row, row), cancel);
}

void fill_noise(RngKind kind, uint64_t seed, uint32_t offset, Span<float> out, const CancelToken * cancel) {
    if (kind == RngKind::philox) return PhiloxGenerator(seed, offset).randn(out, cancel);
    TorchGenerator generator(seed);
    for (uint32_t i = 0; i <= offset; ++i) generator.randn(out, cancel);
}

}  // namespace latent
