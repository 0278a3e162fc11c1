#include "models/stored_map.h"

#include <ggml-cpu.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

namespace latent::models {

namespace {

constexpr float largest_half = 65504.0f;

void for_channels(kernels::Pool * pool, int64_t channels, const std::function<void(int64_t)> & work) {
    if (!pool) {
        for (int64_t c = 0; c < channels; ++c) work(c);
        return;
    }
    const int64_t parts = std::min<int64_t>(channels, 4 * pool->threads());
    pool->run(static_cast<int>(parts), [&](int part) {
        for (int64_t c = channels * part / parts; c < channels * (part + 1) / parts; ++c) work(c);
    });
}

void to_float(DType type, const uint8_t * from, float * out, int64_t count) {
    switch (type) {
        case DType::f16: ggml_cpu_fp16_to_fp32(reinterpret_cast<const ggml_fp16_t *>(from), out, count); return;
        case DType::bf16: ggml_cpu_bf16_to_fp32(reinterpret_cast<const ggml_bf16_t *>(from), out, count); return;
        default: std::memcpy(out, from, static_cast<size_t>(count) * sizeof(float));
    }
}

void from_float(DType type, const float * values, uint8_t * out, int64_t count) {
    switch (type) {
        case DType::f16: ggml_cpu_fp32_to_fp16(values, reinterpret_cast<ggml_fp16_t *>(out), count); return;
        case DType::bf16: ggml_cpu_fp32_to_bf16(values, reinterpret_cast<ggml_bf16_t *>(out), count); return;
        default: std::memcpy(out, values, static_cast<size_t>(count) * sizeof(float));
    }
}

/// Sums of several lanes, so that one addition need not wait for the one before.
double sum_of(const float * x, int64_t count) {
    double lanes[8] = {};
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        for (int lane = 0; lane < 8; ++lane) lanes[lane] += double{x[i + lane]};
    }
    for (; i < count; ++i) lanes[0] += double{x[i]};
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

double squares_of(const float * x, int64_t count, double mean, float & largest) {
    double lanes[8] = {};
    float most[8] = {};
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        for (int lane = 0; lane < 8; ++lane) {
            const double d = double{x[i + lane]} - mean;
            lanes[lane] += d * d;
            const float magnitude = std::fabs(x[i + lane]);
            most[lane] = magnitude > most[lane] ? magnitude : most[lane];
        }
    }
    for (; i < count; ++i) {
        const double d = double{x[i]} - mean;
        lanes[0] += d * d;
        most[0] = std::max(most[0], std::fabs(x[i]));
    }
    largest = *std::max_element(most, most + 8);
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

}  // namespace

void StoredMap::Moments::merge(double n, double m, double s) {
    const double total = count + n, distance = m - mean;
    squares += s + distance * distance * count * n / total;
    mean += distance * n / total;
    count = total;
}

StoredMap::StoredMap(int64_t channels, int64_t height, int64_t width, int64_t band, DType type, bool plan, MemoryCount & count)
    : channels_(channels),
      height_(height),
      width_(width),
      band_(std::min(band, height)),
      type_(type),
      plan_(plan),
      count_(&count) {
    const size_t bands = static_cast<size_t>((height_ + band_ - 1) / band_);
    bands_.resize(bands);
    held_.assign(bands, false);
    moments_.resize(static_cast<size_t>(channels));
}

StoredMap::StoredMap(StoredMap && other) noexcept : StoredMap(0, 1, 1, 1, other.type_, true, *other.count_) {
    *this = std::move(other);
}

StoredMap & StoredMap::operator=(StoredMap && other) noexcept {
    std::swap(channels_, other.channels_);
    std::swap(height_, other.height_);
    std::swap(width_, other.width_);
    std::swap(band_, other.band_);
    std::swap(type_, other.type_);
    std::swap(plan_, other.plan_);
    std::swap(count_, other.count_);
    bands_.swap(other.bands_);
    held_.swap(other.held_);
    moments_.swap(other.moments_);
    return *this;
}

StoredMap::~StoredMap() {
    free_before(height_);
}

int64_t StoredMap::rows_of(size_t band) const {
    return std::min(band_, height_ - static_cast<int64_t>(band) * band_);
}

uint64_t StoredMap::bytes_of(size_t band) const {
    return static_cast<uint64_t>(channels_ * rows_of(band) * width_ * dtype_block_bytes(type_));
}

/// row_run(channel, rows of one band as they are stored, position in planes of `count` rows, elements).
template <typename Visit>
void StoredMap::visit(int64_t first, int64_t count, kernels::Pool * pool, const Visit & row_run) const {
    for_channels(pool, channels_, [&](int64_t c) {
        for (int64_t row = first; row < first + count;) {
            const size_t band = static_cast<size_t>(row / band_);
            const int64_t start = static_cast<int64_t>(band) * band_, rows = rows_of(band);
            const int64_t run = std::min(start + rows, first + count) - row;
            const int64_t at = (c * rows + row - start) * width_;
            row_run(bands_[band].data() + at * dtype_block_bytes(type_), (c * count + row - first) * width_, run * width_);
            row += run;
        }
    });
}

void StoredMap::read(int64_t first, int64_t count, float * out, kernels::Pool * pool) const {
    visit(first, count, pool, [&](const uint8_t * from, int64_t at, int64_t n) { to_float(type_, from, out + at, n); });
}

void StoredMap::add_to(int64_t first, int64_t count, float * planes, kernels::Pool * pool) const {
    visit(first, count, pool, [&](const uint8_t * from, int64_t at, int64_t n) {
        constexpr int64_t kChunk = 1024;
        float values[kChunk];
        for (int64_t i = 0; i < n; i += kChunk) {
            const int64_t some = std::min(kChunk, n - i);
            to_float(type_, from + i * dtype_block_bytes(type_), values, some);
            for (int64_t j = 0; j < some; ++j) planes[at + i + j] += values[j];
        }
    });
}

bool StoredMap::write(int64_t first, const float * planes, kernels::Pool * pool) {
    const size_t band = static_cast<size_t>(first / band_);
    if (!held_[band]) count_->add(bytes_of(band));
    held_[band] = true;
    if (plan_) return true;
    if (!bands_[band]) bands_[band] = Pages(static_cast<size_t>(bytes_of(band)));
    const int64_t count = rows_of(band) * width_;
    std::vector<float> largest(static_cast<size_t>(channels_));
    for_channels(pool, channels_, [&](int64_t c) {
        const float * plane = planes + c * count;
        const double mean = sum_of(plane, count) / static_cast<double>(count);
        const double squares = squares_of(plane, count, mean, largest[static_cast<size_t>(c)]);
        moments_[static_cast<size_t>(c)].merge(static_cast<double>(count), mean, squares);
        from_float(type_, plane, bands_[band].data() + c * count * dtype_block_bytes(type_), count);
    });
    const float most = *std::max_element(largest.begin(), largest.end());
    return type_ != DType::f16 || most <= largest_half || !std::isfinite(most);
}

void StoredMap::free_before(int64_t row) {
    for (size_t band = 0; band < held_.size() && static_cast<int64_t>(band) * band_ + rows_of(band) <= row; ++band) {
        if (!held_[band]) continue;
        held_[band] = false;
        bands_[band].reset();
        count_->remove(bytes_of(band));
    }
}

void StoredMap::normaliser(int64_t groups, float eps, const std::vector<float> & weight, const std::vector<float> & bias,
                           std::vector<float> & scale, std::vector<float> & shift) const {
    scale.resize(static_cast<size_t>(channels_));
    shift.resize(static_cast<size_t>(channels_));
    const int64_t each = channels_ / groups;
    for (int64_t group = 0; group < groups; ++group) {
        Moments all;
        for (int64_t c = group * each; c < (group + 1) * each; ++c) {
            const Moments & own = moments_[static_cast<size_t>(c)];
            if (own.count > 0) all.merge(own.count, own.mean, own.squares);
        }
        const double factor = 1.0 / std::sqrt(all.squares / std::max(all.count, 1.0) + double{eps});
        for (size_t c = static_cast<size_t>(group * each); c < static_cast<size_t>((group + 1) * each); ++c) {
            scale[c] = static_cast<float>(factor * double{weight[c]});
            shift[c] = static_cast<float>(double{bias[c]} - all.mean * factor * double{weight[c]});
        }
    }
}

}  // namespace latent::models
