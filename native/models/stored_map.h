#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/pages.h"
#include "core/span.h"
#include "core/tensor_source.h"
#include "kernels/common/pool.h"

namespace latent::models {

/// Memory of maps: current and peak bytes, counted on allocation and release; a plan counts without allocating. Freed bands of
/// the expected size are kept for the next band, because the system zeroes new memory, which takes longer than converting a band.
class MapMemory {
public:
    uint64_t peak() const { return peak_; }
    /// Counts `bytes` that are held only briefly.
    void touch(uint64_t bytes) { peak_ = std::max(peak_, now_ + bytes); }

    /// Sets the size of the next bands, 0 for none. Frees the kept bands if their size differs.
    void expect(uint64_t bytes);
    /// A band with undefined contents, or without data in a plan. Throws std::bad_alloc.
    Pages take(uint64_t bytes, bool plan);
    void give_back(Pages band, uint64_t bytes);

private:
    uint64_t now_ = 0, peak_ = 0;
    uint64_t size_ = 0, kept_ = 0;  // size and number of the kept bands
    std::vector<Pages> bands_;
};

/// A map [height, width, channels] between layers that are computed in bands of rows: written once, from top to bottom, and read
/// in any bands. Stored in f32, f16 or bf16, in bands of at most 2 MB or one row, so that the next map can reuse them. Mean and
/// variance of every channel are gathered while rows are written.
class StoredMap {
public:
    /// Without data (`plan`) it only counts.
    StoredMap(int64_t channels, int64_t height, int64_t width, DType type, bool plan, MapMemory & memory);
    /// A view of the caller's map, planes[channels][height][width]: read-only, without statistics, not counted.
    StoredMap(Span<const float> planes, int64_t channels, int64_t height, int64_t width, MapMemory & memory);
    ~StoredMap();
    StoredMap(StoredMap && other) noexcept;
    StoredMap & operator=(StoredMap && other) noexcept;

    int64_t channels() const { return channels_; }
    int64_t height() const { return height_; }
    int64_t width() const { return width_; }
    /// Bytes of a band; the last one may be shorter.
    uint64_t band_bytes() const { return bytes_of(0); }

    /// Rows [first, first + count): out[count][width][channels].
    void read(int64_t first, int64_t count, float * out, kernels::Pool * pool) const;
    /// Returns all rows and frees them; they cannot be read again.
    void read_all(float * out, kernels::Pool * pool) {
        read(0, height_, out, pool);
        free_before(height_);
    }
    /// Writes rows [first, first + count) from values[count][width][channels], after adding the rows of `residual`, a map of the
    /// same size, to `values`. False if a finite value is too large for f16.
    bool write(int64_t first, int64_t count, float * values, const StoredMap * residual, kernels::Pool * pool);
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
    uint8_t * pixel(int64_t row, int64_t x) { return const_cast<uint8_t *>(std::as_const(*this).pixel(row, x)); }

    int64_t channels_, height_, width_, band_;
    DType type_;
    bool plan_;
    MapMemory * memory_;
    Span<const float> planes_;  // the caller's map
    std::vector<Pages> bands_;
    std::vector<bool> held_;
    std::vector<Moments> moments_;  // per channel
};

}  // namespace latent::models
