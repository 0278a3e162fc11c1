#include "models/codebook.h"

#include <algorithm>
#include <limits>

namespace latent::models {

namespace {

constexpr int64_t lanes = 16;   // independent minima, so that the search can be vectorised
constexpr int64_t group = 256;  // codes at a time; their distances stay in the first-level cache
constexpr int64_t part = 64;    // positions per unit of work
constexpr int64_t largest_part = 1 << 30;

}  // namespace

Codebook::Codebook(Span<const float> vectors, int64_t count, int64_t dim)
    : count_(count), dim_(dim), padded_((count + group - 1) / group * group) {
    if (count < 1 || dim < 1 || static_cast<int64_t>(vectors.size()) != count * dim)
        throw Error(ErrorCode::internal, "A codebook was given vectors that do not fit its size");
    columns_.assign(static_cast<size_t>(dim * padded_), 0.0f);
    squares_.assign(static_cast<size_t>(padded_), std::numeric_limits<float>::infinity());
    for (int64_t code = 0; code < count; ++code) {
        float square = 0;
        for (int64_t d = 0; d < dim; ++d) {
            const float value = vectors[static_cast<size_t>(code * dim + d)];
            columns_[static_cast<size_t>(d * padded_ + code)] = value;
            square += value * value;
        }
        squares_[static_cast<size_t>(code)] = square;
    }
}

int32_t Codebook::nearest(const float * z, int64_t stride) const {
    float square = 0;
    for (int64_t d = 0; d < dim_; ++d) square += z[d * stride] * z[d * stride];
    float best = std::numeric_limits<float>::infinity();
    int64_t found = 0;
    float product[group], distance[group];
    for (int64_t first = 0; first < padded_; first += group) {
        const float * column = columns_.data() + first;
        for (int64_t i = 0; i < group; ++i) product[i] = z[0] * column[i];
        for (int64_t d = 1; d < dim_; ++d) {
            column += padded_;
            const float value = z[d * stride];
            for (int64_t i = 0; i < group; ++i) product[i] += value * column[i];
        }
        const float * squares = squares_.data() + first;
        for (int64_t i = 0; i < group; ++i) distance[i] = (square + squares[i]) - 2.0f * product[i];
        float lowest[lanes];
        std::copy(distance, distance + lanes, lowest);
        for (int64_t i = lanes; i < group; i += lanes) {
            for (int64_t lane = 0; lane < lanes; ++lane) {
                const float d = distance[i + lane];
                lowest[lane] = d < lowest[lane] ? d : lowest[lane];
            }
        }
        const float least = *std::min_element(lowest, lowest + lanes);
        if (!(least < best)) continue;
        best = least;
        found = first + (std::find(distance, distance + group, least) - distance);
    }
    return static_cast<int32_t>(found);
}

void Codebook::nearest(Span<const float> z, int64_t batch, int64_t plane, Span<int32_t> codes, kernels::Pool * pool,
                       const CancelToken & cancel) const {
    if (static_cast<int64_t>(z.size()) != batch * dim_ * plane || static_cast<int64_t>(codes.size()) != batch * plane)
        throw Error(ErrorCode::internal, "The latents do not match the requested number of codes");
    const int64_t positions = batch * plane, parts = (positions + part - 1) / part;
    if (parts > largest_part) throw Error(ErrorCode::invalid_argument, "Too many positions to quantise at once");
    const auto work = [&](int index) {
        cancel.check();
        const int64_t end = std::min(positions, (index + int64_t{1}) * part);
        for (int64_t i = index * part; i < end; ++i) {
            const float * vector = z.data() + i / plane * dim_ * plane + i % plane;
            codes[static_cast<size_t>(i)] = nearest(vector, plane);
        }
    };
    if (pool) {
        pool->run(static_cast<int>(parts), work);
    } else {
        for (int index = 0; index < static_cast<int>(parts); ++index) work(index);
    }
}

void Codebook::lookup(Span<const int32_t> codes, int64_t batch, int64_t plane, Span<float> z) const {
    if (static_cast<int64_t>(z.size()) != batch * dim_ * plane || static_cast<int64_t>(codes.size()) != batch * plane)
        throw Error(ErrorCode::internal, "The number of codes does not match the latents");
    for (int64_t i = 0; i < batch * plane; ++i) {
        const int32_t code = codes[static_cast<size_t>(i)];
        if (code < 0 || code >= count_) {
            throw Error(ErrorCode::invalid_argument,
                        "Code " + std::to_string(code) + " is outside the codebook of " + std::to_string(count_));
        }
        float * vector = z.data() + i / plane * dim_ * plane + i % plane;
        for (int64_t d = 0; d < dim_; ++d) vector[d * plane] = columns_[static_cast<size_t>(d * padded_ + code)];
    }
}

}  // namespace latent::models
