#include "models/stored_map.h"

#include <ggml-cpu.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <new>

#include "kernels/common/vectors.h"

namespace latent::models {

namespace {

constexpr int64_t run_pixels = 64;  // processed at a time: 128 channels are 32 KB

void for_parts(kernels::Pool * pool, int64_t count, const std::function<void(int64_t)> & work) {
    if (pool) return pool->run(static_cast<int>(count), [&](int i) { work(i); });
    for (int64_t i = 0; i < count; ++i) work(i);
}

void to_float(DType type, const uint8_t * from, float * out, int64_t count) {
    switch (type) {
        case DType::f16: ggml_cpu_fp16_to_fp32(reinterpret_cast<const ggml_fp16_t *>(from), out, count); return;
        case DType::bf16: ggml_cpu_bf16_to_fp32(reinterpret_cast<const ggml_bf16_t *>(from), out, count); return;
        default: std::memcpy(out, from, static_cast<size_t>(count) * sizeof(float));
    }
}

/// False if a finite value is too large for f16.
bool from_float(DType type, const float * values, uint8_t * out, int64_t count) {
    if (type == DType::bf16) {
        ggml_cpu_fp32_to_bf16(values, reinterpret_cast<ggml_bf16_t *>(out), count);
    } else if (type == DType::f16) {
        ggml_fp16_t * halves = reinterpret_cast<ggml_fp16_t *>(out);
        ggml_cpu_fp32_to_fp16(values, halves, count);
        bool infinite = false;
        for (int64_t i = 0; i < count; ++i) infinite |= (halves[i] & 0x7fff) == 0x7c00;
        for (int64_t i = 0; infinite && i < count; ++i) {
            if ((halves[i] & 0x7fff) == 0x7c00 && std::isfinite(values[i])) return false;
        }
    } else {
        std::memcpy(out, values, static_cast<size_t>(count) * sizeof(float));
    }
    return true;
}

}  // namespace

void MapMemory::expect(uint64_t bytes) {
    if (bytes == size_) return;
    now_ -= kept_ * size_;
    size_ = bytes, kept_ = 0;
    bands_.clear();
}

Pages MapMemory::take(uint64_t bytes, bool plan) {
    const bool kept = bytes == size_ && kept_ > 0;
    if (!kept) {
        Pages band = plan ? Pages() : Pages(static_cast<size_t>(bytes));
        now_ += bytes;
        touch(0);
        return band;
    }
    --kept_;
    if (plan) return {};
    Pages band = std::move(bands_.back());
    bands_.pop_back();
    return band;
}

void MapMemory::give_back(Pages band, uint64_t bytes) {
    if (bytes != size_) {
        now_ -= bytes;
        return;
    }
    if (band) {
        try {
            bands_.push_back(std::move(band));
        } catch (const std::bad_alloc &) {  // called from destructors: without room for one more, the band is freed
            now_ -= bytes;
            return;
        }
    }
    ++kept_;
}

void StoredMap::Moments::merge(double n, double m, double s) {
    const double total = count + n, distance = m - mean;
    squares += s + distance * distance * count * n / total;
    mean += distance * n / total;
    count = total;
}

StoredMap::StoredMap(int64_t channels, int64_t height, int64_t width, DType type, bool plan, MapMemory & memory)
    : channels_(channels), height_(height), width_(width), type_(type), plan_(plan), memory_(&memory) {
    const int64_t row_bytes = std::max<int64_t>(1, channels * width * dtype_block_bytes(type));
    band_ = std::clamp<int64_t>(static_cast<int64_t>(Pages::huge) / row_bytes, 1, std::max<int64_t>(1, height));
    const size_t bands = static_cast<size_t>((height_ + band_ - 1) / band_);
    bands_.resize(bands);
    held_.assign(bands, false);
    moments_.resize(static_cast<size_t>(channels));
}

StoredMap::StoredMap(Span<const float> planes, int64_t channels, int64_t height, int64_t width, MapMemory & memory)
    : StoredMap(channels, height, width, DType::f32, true, memory) {
    planes_ = planes;
}

StoredMap::StoredMap(StoredMap && other) noexcept : StoredMap(0, 1, 1, other.type_, true, *other.memory_) {
    *this = std::move(other);
}

StoredMap & StoredMap::operator=(StoredMap && other) noexcept {
    std::swap(channels_, other.channels_);
    std::swap(height_, other.height_);
    std::swap(width_, other.width_);
    std::swap(band_, other.band_);
    std::swap(type_, other.type_);
    std::swap(plan_, other.plan_);
    std::swap(memory_, other.memory_);
    std::swap(planes_, other.planes_);
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

const uint8_t * StoredMap::pixel(int64_t row, int64_t x) const {
    const size_t band = static_cast<size_t>(row / band_);
    const int64_t at = ((row - static_cast<int64_t>(band) * band_) * width_ + x) * channels_;
    return bands_[band].data() + at * dtype_block_bytes(type_);
}

void StoredMap::read(int64_t first, int64_t count, float * out, kernels::Pool * pool) const {
    const int64_t row = width_ * channels_;
    if (!planes_.empty()) {
        return for_parts(pool, count, [&](int64_t i) {
            for (int64_t c = 0; c < channels_; ++c) {
                const float * from = planes_.data() + (c * height_ + first + i) * width_;
                float * to = out + i * row + c;
                for (int64_t x = 0; x < width_; ++x) to[x * channels_] = from[x];
            }
        });
    }
    for_parts(pool, count, [&](int64_t i) { to_float(type_, pixel(first + i, 0), out + i * row, row); });
}

bool StoredMap::write(int64_t first, int64_t rows, float * values, const StoredMap * residual, kernels::Pool * pool) {
    for (size_t band = static_cast<size_t>(first / band_); static_cast<int64_t>(band) * band_ < first + rows; ++band) {
        if (!held_[band]) bands_[band] = memory_->take(bytes_of(band), plan_);
        held_[band] = true;
    }
    if (plan_) return true;
    const kernels::VectorSet & vectors = kernels::vector_set();
    const int64_t runs = (width_ + run_pixels - 1) / run_pixels;
    const size_t channels = static_cast<size_t>(channels_);
    std::vector<float> means(static_cast<size_t>(rows * runs) * channels), squares(means.size());
    std::atomic<bool> fits{true};
    for_parts(pool, rows, [&](int64_t i) {
        std::vector<float> buffer(residual ? static_cast<size_t>(run_pixels) * channels : 0);
        for (int64_t run = 0; run < runs; ++run) {
            const int64_t x = run * run_pixels, pixels = std::min(run_pixels, width_ - x), size = pixels * channels_;
            float * part = values + (i * width_ + x) * channels_;
            const size_t at = static_cast<size_t>(i * runs + run) * channels;
            if (vectors.store_halves && type_ == DType::f16 && (!residual || residual->type_ == DType::f16)) {
                const uint8_t * add = residual ? residual->pixel(first + i, x) : nullptr;
                if (!vectors.store_halves(part, reinterpret_cast<const uint16_t *>(add),
                                          reinterpret_cast<uint16_t *>(pixel(first + i, x)), size))
                    fits = false;
                vectors.column_moments(part, channels_, pixels, channels_, means.data() + at, squares.data() + at);
                continue;
            }
            if (residual) {
                to_float(residual->type_, residual->pixel(first + i, x), buffer.data(), size);
                kernels::Finishing f;
                f.columns = size, f.sums = part, f.residual = buffer.data(), f.out = part;
                vectors.finish(f);
            }
            vectors.column_moments(part, channels_, pixels, channels_, means.data() + at, squares.data() + at);
            if (!from_float(type_, part, pixel(first + i, x), size)) fits = false;
        }
    });
    for (size_t i = 0; i < static_cast<size_t>(rows * runs); ++i) {
        const int64_t x = static_cast<int64_t>(i) % runs * run_pixels;
        const double pixels = static_cast<double>(std::min(run_pixels, width_ - x));
        for (size_t c = 0; c < channels; ++c)
            moments_[c].merge(pixels, double{means[i * channels + c]}, double{squares[i * channels + c]});
    }
    return fits;
}

void StoredMap::free_before(int64_t row) {
    for (size_t band = 0; band < held_.size() && static_cast<int64_t>(band) * band_ + rows_of(band) <= row; ++band) {
        if (!held_[band]) continue;
        held_[band] = false;
        memory_->give_back(std::move(bands_[band]), bytes_of(band));
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
