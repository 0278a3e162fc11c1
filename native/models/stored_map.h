#pragma once

#include <cstdint>
#include <vector>

#include "core/pages.h"
#include "core/span.h"
#include "core/tensor_source.h"
#include "kernels/common/pool.h"

namespace latent::models {

/// Current and peak bytes, counted on allocation and release; a plan counts without allocating.
struct MemoryCount {
    uint64_t now = 0, peak = 0;

    void add(uint64_t bytes) {
        now += bytes;
        touch(0);
    }
    void remove(uint64_t bytes) { now -= bytes; }
    /// Counts `bytes` that are held only briefly.
    void touch(uint64_t bytes) { peak = now + bytes > peak ? now + bytes : peak; }
};

/// A map [height, width, channels] between layers that are computed in bands of rows: written once, band by band, and read in any
/// bands. Stored in f32, f16 or bf16. Mean and variance of every channel are gathered while bands are written.
class StoredMap {
public:
    /// Bands of `band` rows, the last one shorter. Without data (`plan`) it only counts.
    StoredMap(int64_t channels, int64_t height, int64_t width, int64_t band, DType type, bool plan, MemoryCount & count);
    /// A view of the caller's map, planes[channels][height][width]: read-only, without statistics, not counted.
    StoredMap(Span<const float> planes, int64_t channels, int64_t height, int64_t width, MemoryCount & count);
    ~StoredMap();
    StoredMap(StoredMap && other) noexcept;
    StoredMap & operator=(StoredMap && other) noexcept;

    int64_t channels() const { return channels_; }
    int64_t height() const { return height_; }
    int64_t width() const { return width_; }

    /// Rows [first, first + count): out[count][width][channels].
    void read(int64_t first, int64_t count, float * out, kernels::Pool * pool) const;
    /// Returns all rows and frees them; they cannot be read again.
    void read_all(float * out, kernels::Pool * pool) {
        read(0, height_, out, pool);
        free_before(height_);
    }
    /// Writes the band that begins at row `first` from values[rows of the band][width][channels], after adding the rows of
    /// `residual`, a map of the same size. False if a finite value is too large for the type.
    bool write(int64_t first, float * values, const StoredMap * residual, kernels::Pool * pool);
    /// Frees the bands that end at or before `row`; they cannot be read again.
    void free_before(int64_t row);

    /// Factor and shift per channel that compute group_norm(x) * weight + bias for the whole map.
    void normaliser(int64_t groups, float eps, const std::vector<float> & weight, const std::vector<float> & bias,
                    std::vector<float> & scale, std::vector<float> & shift) const;

private:
    struct Moments {
        double count = 0, mean = 0, squares = 0;  // squares: sum of squared distances from the mean
        void merge(double n, double m, double s);
    };
    int64_t rows_of(size_t band) const;
    uint64_t bytes_of(size_t band) const;
    const uint8_t * pixel(int64_t row, int64_t x) const;

    int64_t channels_, height_, width_, band_;
    DType type_;
    bool plan_;
    MemoryCount * count_;
    Span<const float> planes_;  // the caller's map
    std::vector<Pages> bands_;
    std::vector<bool> held_;
    std::vector<Moments> moments_;  // per channel
};

}  // namespace latent::models
