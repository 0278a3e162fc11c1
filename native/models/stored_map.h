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

/// Memory of maps: bytes held now and at most, counted where they are taken and given back. A plan counts without taking any.
/// Bands of the size in use wait, when they are freed, for the next band: memory fresh from the system is zeroed first, which
/// costs more than a band's conversion.
class MapMemory {
public:
    uint64_t peak() const { return peak_; }
    /// `bytes` more for a moment.
    void touch(uint64_t bytes) { peak_ = std::max(peak_, now_ + bytes); }

    /// The size of the bands to come; 0: none. Those of another size that wait are freed.
    void expect(uint64_t bytes);
    /// A band, its contents undefined; without data in a plan. Throws std::bad_alloc.
    Pages take(uint64_t bytes, bool plan);
    void give_back(Pages band, uint64_t bytes);

private:
    uint64_t now_ = 0, peak_ = 0;
    uint64_t size_ = 0, waiting_ = 0;  // of bands that wait, and how many do
    std::vector<Pages> bands_;
};

/// A map [height, width, channels] between layers that are computed in bands of rows: written once, from top to bottom, and read
/// in any bands. Kept in f32, f16 or bf16, in bands of its own of 2 MB or less, so that those of one map serve the next. Mean and
/// variance of every channel are gathered as rows are written.
class StoredMap {
public:
    /// Without data (`plan`) it only counts.
    StoredMap(int64_t channels, int64_t height, int64_t width, DType type, bool plan, MapMemory & memory);
    /// A map that is the caller's and stays where it is, planes[channels][height][width]: it is only read, has no statistics and
    /// does not count.
    StoredMap(Span<const float> planes, int64_t channels, int64_t height, int64_t width, MapMemory & memory);
    ~StoredMap();
    StoredMap(StoredMap && other) noexcept;
    StoredMap & operator=(StoredMap && other) noexcept;

    int64_t channels() const { return channels_; }
    int64_t height() const { return height_; }
    int64_t width() const { return width_; }
    /// Bytes of every band but a shorter last one.
    uint64_t band_bytes() const { return bytes_of(0); }

    /// Rows [first, first + count): out[count][width][channels].
    void read(int64_t first, int64_t count, float * out, kernels::Pool * pool) const;
    /// Returns all rows and frees them; they cannot be read again.
    void read_all(float * out, kernels::Pool * pool) {
        read(0, height_, out, pool);
        free_before(height_);
    }
    /// Rows [first, first + count), from values[count][width][channels]; those of `residual`, a map of the same size, are added
    /// to `values` before. False where a finite value is too large for the type.
    bool write(int64_t first, int64_t count, float * values, const StoredMap * residual, kernels::Pool * pool);
    /// Frees the bands that end at or before `row`: they will not be read again.
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
    Span<const float> planes_;  // of the caller
    std::vector<Pages> bands_;
    std::vector<bool> held_;
    std::vector<Moments> moments_;  // per channel
};

}  // namespace latent::models
