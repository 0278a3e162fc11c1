#include <algorithm>
#include <cmath>

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

void SeededNoise::normal(Span<float> out) {
    const size_t count = rows();
    if (count == 0 || out.size() % count != 0)
        throw Error(ErrorCode::internal,
                    "Noise of " + std::to_string(out.size()) + " values does not divide into " + std::to_string(count) + " rows");
    const size_t row = out.size() / count;
    for (size_t i = 0; i < mt_.size(); ++i) mt_[i].randn(out.subspan(i * row, row));
    for (size_t i = 0; i < philox_.size(); ++i) philox_[i].randn(out.subspan(i * row, row));
}

void fill_noise(RngKind kind, uint64_t seed, uint32_t offset, Span<float> out) {
    if (kind == RngKind::philox) return PhiloxGenerator(seed, offset).randn(out);
    TorchGenerator generator(seed);
    for (uint32_t i = 0; i <= offset; ++i) generator.randn(out);
}

namespace {

void check_shape(size_t actual, NoiseShape shape, const char * what) {
    if (actual != shape.size())
        throw Error(ErrorCode::invalid_argument, std::string(what) + " has " + std::to_string(actual) +
                                                     " values where its shape needs " + std::to_string(shape.size()));
}

// A column runs along the height: elements begin, begin + width, ...
struct Column {
    const float * data;
    size_t step, count;
    double dot(const Column & other) const {
        double sum = 0;
        for (size_t i = 0; i < count; ++i) sum += static_cast<double>(data[i * step]) * other.data[i * other.step];
        return sum;
    }
};

}  // namespace

void slerp(double amount, Span<const float> low, Span<const float> high, NoiseShape shape, Span<float> out) {
    check_shape(low.size(), shape, "The first noise");
    check_shape(high.size(), shape, "The second noise");
    check_shape(out.size(), shape, "The result");
    const size_t columns = shape.channels * shape.width;
    std::vector<double> cosines(columns);
    double mean = 0;
    for (size_t k = 0; k < columns; ++k) {
        const size_t begin = k / shape.width * shape.height * shape.width + k % shape.width;
        const Column a{low.data() + begin, shape.width, shape.height}, b{high.data() + begin, shape.width, shape.height};
        cosines[k] = a.dot(b) / std::sqrt(a.dot(a) * b.dot(b));
        mean += cosines[k] / static_cast<double>(columns);
    }
    for (size_t i = 0; i < out.size(); ++i) {
        // The web UI's linear branch has its weights the other way round; kept, since seeds must reproduce.
        double a = amount, b = 1 - amount;
        if (!(mean > 0.9995)) {
            const size_t k = i / (shape.height * shape.width) * shape.width + i % shape.width;
            const double omega = std::acos(std::clamp(cosines[k], -1.0, 1.0)), s = std::sin(omega);
            a = std::sin((1 - amount) * omega) / s;
            b = std::sin(amount * omega) / s;
        }
        out[i] = static_cast<float>(a * low[i] + b * high[i]);
    }
}

void paste_centred(Span<const float> noise, NoiseShape from, Span<float> out, NoiseShape to) {
    check_shape(noise.size(), from, "The noise");
    check_shape(out.size(), to, "The target noise");
    if (from.channels != to.channels)
        throw Error(ErrorCode::invalid_argument, "Both noises must have the same number of channels");
    struct Axis {
        size_t source = 0, target = 0, count = 0;
    };
    const auto centre = [](size_t a, size_t b) {
        // Floor of the half difference, negative where the source is larger; then cropped by it on both sides.
        const auto source = static_cast<long long>(a), target = static_cast<long long>(b);
        const long long difference = target - source, half = (difference - (difference < 0 ? 1 : 0)) / 2;
        Axis axis;
        if (half >= 0) {
            axis = {0, static_cast<size_t>(half), a};
        } else {
            axis = {static_cast<size_t>(-half), 0, static_cast<size_t>(std::max(0LL, source + 2 * half))};
        }
        axis.count = std::min({axis.count, b - std::min(b, axis.target), a - std::min(a, axis.source)});
        return axis;
    };
    const Axis y = centre(from.height, to.height), x = centre(from.width, to.width);
    for (size_t c = 0; c < to.channels; ++c)
        for (size_t row = 0; row < y.count; ++row) {
            const float * source = noise.data() + (c * from.height + y.source + row) * from.width + x.source;
            std::copy(source, source + x.count, out.data() + (c * to.height + y.target + row) * to.width + x.target);
        }
}

}  // namespace latent
