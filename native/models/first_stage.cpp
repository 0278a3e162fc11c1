#include "models/first_stage.h"

namespace latent::models {

namespace {

constexpr int64_t max_picture_side = 1 << 17;  // pixels
constexpr int64_t max_picture_batch = 256;

[[noreturn]] void no_bands() {
    throw Error(ErrorCode::internal, "This first stage does not support bands");
}

[[noreturn]] void no_codes() {
    throw Error(ErrorCode::invalid_argument, "This first stage is continuous and has no codes");
}

}  // namespace

void FirstStage::check(int64_t batch, int64_t height, int64_t width, int64_t multiple) const {
    const int64_t limit = max_picture_side * multiple / form().downsampling;
    const auto side_fits = [&](int64_t side) { return side >= multiple && side <= limit && side % multiple == 0; };
    if (!side_fits(height) || !side_fits(width)) {
        throw Error(ErrorCode::invalid_argument, "A size of " + std::to_string(width) + "x" + std::to_string(height) +
                                                     " does not fit the autoencoder: each side must be a multiple of " +
                                                     std::to_string(multiple) + ", up to " + std::to_string(limit));
    }
    if (batch < 1 || batch > max_picture_batch)
        throw Error(ErrorCode::invalid_argument, "The batch of an autoencoder call must be 1 to 256");
}

void FirstStage::encode_banded(Span<const float>, int64_t, int64_t, Span<float>, const JobContext &) {
    no_bands();
}

void FirstStage::decode_banded(Span<const float>, int64_t, int64_t, Span<float>, const JobContext &, bool) {
    no_bands();
}

uint64_t FirstStage::measure_encode_banded(int64_t, int64_t) const {
    no_bands();
}

uint64_t FirstStage::measure_decode_banded(int64_t, int64_t) const {
    no_bands();
}

void FirstStage::quantise(Span<const float>, int64_t, int64_t, int64_t, Span<int32_t>, Span<float>, const JobContext &) {
    no_codes();
}

void FirstStage::lookup(Span<const int32_t>, int64_t, int64_t, int64_t, Span<float>) {
    no_codes();
}

}  // namespace latent::models
