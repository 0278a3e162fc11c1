#include <algorithm>
#include <cstring>

#include "kernels/common/matmul.h"
#include "kernels/common/rows.h"
#include "kernels/common/scratch.h"

namespace latent::kernels {
namespace {

constexpr int kMaxTaps = 64;  // per group; larger kernels are split into groups

/// The positions in the input of the taps of 6 neighbouring output pixels.
class Taps {
public:
    explicit Taps(const ConvShape & shape)
        : s_(shape),
          scale_(shape.upsample ? 2 : 1),
          height_(shape.crop_height ? shape.crop_height : shape.height * scale_),
          width_(shape.crop_width ? shape.crop_width : shape.width * scale_),
          plain_(shape.kernel == 1 && shape.stride == 1 && !shape.upsample && shape.pad_top == 0 &&
                 shape.out_height == shape.height) {}

    /// at[(tap - first_tap) * 6 + r]: the index of the input pixel, -1 outside the image and beyond the last output pixel.
    void find(int64_t pixel, int first_tap, int last_tap, int64_t * at) const {
        const int64_t left = s_.pixels() - pixel;
        if (plain_) {
            for (int r = 0; r < kTileRows; ++r) at[r] = r < left ? pixel + r : -1;
            return;
        }
        int64_t x = pixel % s_.out_width, y = pixel / s_.out_width % s_.out_height, n = pixel / (s_.out_width * s_.out_height);
        for (int r = 0; r < kTileRows; ++r) {
            if (r >= left) {
                for (int tap = first_tap; tap < last_tap; ++tap) at[(tap - first_tap) * kTileRows + r] = -1;
                continue;
            }
            const int64_t x0 = x * s_.stride - s_.pad_left, y0 = y * s_.stride - s_.pad_top, image = n * s_.height * s_.width;
            int ky = first_tap / s_.kernel, kx = first_tap % s_.kernel;
            for (int tap = first_tap; tap < last_tap; ++tap) {
                const int64_t iy = y0 + ky, ix = x0 + kx;
                const bool inside = iy >= 0 && ix >= 0 && iy < height_ && ix < width_;
                at[(tap - first_tap) * kTileRows + r] =
                    inside ? image + (s_.upsample ? (iy / 2) * s_.width + ix / 2 : iy * s_.width + ix) : -1;
                if (++kx == s_.kernel) kx = 0, ++ky;
            }
            if (++x == s_.out_width) {
                x = 0;
                if (++y == s_.out_height) y = 0, ++n;
            }
        }
    }

private:
    const ConvShape & s_;
    int64_t scale_, height_, width_;
    bool plain_;
};

/// How output pixels and panels of 64 output channels are distributed, and how taps are grouped so that a panel stays in a cache.
struct Schedule {
    int64_t panels, chunk, chunks;
    int taps_per_group;

    Schedule(const ConvShape & s, int64_t width, int64_t tap_bytes, int64_t cache, int threads) {
        panels = (width + kTileColumns - 1) / kTileColumns;
        const int64_t tiles = (s.pixels() + kTileRows - 1) / kTileRows;
        constexpr int64_t
            kLeast = 8,
            kMost = 170;  // tiles per chunk: enough to amortise packing a panel, few enough for the memory of their sums
        chunks = std::max((3 * threads + panels - 1) / panels, (tiles + kMost - 1) / kMost);
        chunks = std::clamp<int64_t>(chunks, 1, std::max<int64_t>(1, tiles / kLeast));
        chunk = (tiles + chunks - 1) / chunks * kTileRows;
        chunks = (s.pixels() + chunk - 1) / chunk;
        taps_per_group = static_cast<int>(std::clamp<int64_t>(cache / std::max<int64_t>(tap_bytes, 1), 1, kMaxTaps));
        taps_per_group = std::min(taps_per_group, s.taps());
    }
    int64_t tasks() const { return panels * chunks; }
    /// Sums are kept between groups of taps; with a single group, one tile is enough.
    int64_t sum_tiles(int taps) const { return taps_per_group < taps ? chunk / kTileRows : 1; }
};

constexpr int64_t kTileFloats = kTileRows * kTileColumns;

/// Turns sums into results, a row of up to 64 channels at a time.
class Finish {
public:
    Finish(const TileSet & tiles, const VectorSet & vectors, const ConvShape & shape, const Epilogue & epilogue,
           const ProductOutput & out)
        : tiles_(tiles), vectors_(vectors), s_(shape), e_(epilogue), out_(out), width_(epilogue.width(shape.out)) {
        row_ = out.bf16 ? (width_ + 1) / 2 * 2 : width_;
    }
    int64_t width() const { return width_; }

    /// `scales` of the output channels of each half, or null.
    void row(int64_t pixel, int64_t column, int columns, const float * sums, const float * gates,
             const float * const * scales) const {
        float buffer[kTileColumns], other[kTileColumns];
        const int64_t at = pixel * row_ + column, from = pixel * width_ + column;
        float * target = out_.bf16 ? buffer : static_cast<float *>(out_.data) + at;
        const float * bias = e_.bias ? e_.bias + column : nullptr;
        const float * add = e_.channel_add ? e_.channel_add + pixel / (s_.out_height * s_.out_width) * s_.out + column : nullptr;
        if (e_.geglu) {
            vectors_.finish(sums, scales[0], bias, add, nullptr, Gate::none, buffer, columns);
            vectors_.finish(gates, scales[1], bias ? bias + width_ : nullptr, add ? add + width_ : nullptr, nullptr, Gate::none,
                            other, columns);
            vectors_.geglu(buffer, other, target, columns);
        } else {
            vectors_.finish(sums, scales[0], bias, add, e_.residual ? e_.residual + from : nullptr, e_.activation, target,
                            columns);
        }
        if (!out_.bf16) return;
        const int64_t padded = column + columns == width_ ? row_ - column : columns;  // pads an odd last element of a row
        tiles_.convert_row(buffer, Element::f32, columns, padded, static_cast<uint8_t *>(out_.data) + at * 2);
    }

private:
    const TileSet & tiles_;
    const VectorSet & vectors_;
    const ConvShape & s_;
    const Epilogue & e_;
    const ProductOutput & out_;
    int64_t width_, row_;  // elements of a result row, and the distance between rows
};

/// The algorithm, shared by all element types. Product:
///   tap_bytes() of a panel; prepare(half, panel, first_tap, last_tap); scales(panel): of output channels, or null
///   multiply(half, at, taps, columns, accumulate, c): the tile whose input pixels are `at`
/// Half 1 is the gate of a geglu, computed together with the values.
template <typename Product>
void run(Product & product, const ConvShape & s, const Finish & finish, Share share) {
    const Schedule plan(s, finish.width(), product.tap_bytes(), product.cache(), share.threads);
    const int halves = finish.width() < s.out ? 2 : 1;
    const Taps taps(s);
    const bool grouped = plan.taps_per_group < s.taps();
    float * sums = static_cast<float *>(
        scratch(Scratch::sums, static_cast<size_t>(plan.sum_tiles(s.taps()) * halves * kTileFloats) * sizeof(float)));
    int64_t at[kMaxTaps * kTileRows];

    // Neighbouring tasks write the same rows, so cache lines and pages are reused.
    const int64_t end = plan.tasks() * (share.thread + 1) / share.threads;
    for (int64_t task = plan.tasks() * share.thread / share.threads; task < end; ++task) {
        const int64_t panel = task % plan.panels, first = task / plan.panels * plan.chunk;
        const int64_t last = std::min(first + plan.chunk, s.pixels()), column = panel * kTileColumns;
        const int columns = static_cast<int>(std::min<int64_t>(kTileColumns, finish.width() - column));
        const int64_t gates = panel + finish.width() / kTileColumns;
        const float * const scales[2] = {product.scales(panel), halves > 1 ? product.scales(gates) : nullptr};
        for (int tap = 0; tap < s.taps(); tap += plan.taps_per_group) {
            const int last_tap = std::min(tap + plan.taps_per_group, s.taps());
            product.prepare(0, panel, tap, last_tap);
            if (halves > 1) product.prepare(1, gates, tap, last_tap);
            for (int64_t pixel = first; pixel < last; pixel += kTileRows) {
                float * c = sums + (grouped ? (pixel - first) / kTileRows * halves * kTileFloats : 0);
                taps.find(pixel, tap, last_tap, at);
                for (int half = 0; half < halves; ++half)
                    product.multiply(half, at, last_tap - tap, columns, tap > 0, c + half * kTileFloats);
                if (last_tap < s.taps()) continue;
                for (int64_t r = 0; r < kTileRows && pixel + r < last; ++r)
                    finish.row(pixel + r, column, columns, c + r * kTileColumns, c + kTileFloats + r * kTileColumns, scales);
            }
        }
    }
}

/// A row of zeros that stands for pixels outside the image.
const uint8_t * zero_row(int64_t bytes) {
    void * row = scratch(Scratch::zero_row, static_cast<size_t>(bytes));
    std::memset(row, 0, static_cast<size_t>(bytes));
    return static_cast<const uint8_t *>(row);
}

/// Weights as stored, packed panel by panel when needed.
class StoredProduct {
public:
    StoredProduct(const TileSet & tiles, const ConvShape & shape, const void * x, const Matrix & w)
        : tiles_(tiles),
          s_(shape),
          w_(w),
          lanes_(tiles.lanes(shape.in)),
          x_(static_cast<const uint8_t *>(x)),
          row_bytes_(lanes_ * 4),
          zeros_(zero_row(row_bytes_)) {}

    int64_t tap_bytes() const { return lanes_ * kTileColumns * 4; }
    int64_t cache() const { return tiles_.panel_bytes; }
    const float * scales(int64_t) const { return nullptr; }

    void prepare(int half, int64_t panel, int first_tap, int last_tap) {
        const Scratch use = half == 0 ? Scratch::panel : Scratch::gate_panel;
        uint8_t * out = static_cast<uint8_t *>(scratch(use, static_cast<size_t>((last_tap - first_tap) * tap_bytes())));
        panels_[half] = out;
        for (int column = 0; column < kTileColumns; column += 16) {
            int64_t stride = 0;
            const void * rows = weight_rows(panel * kTileColumns + column, &stride);
            tiles_.pack_weights(rows, stride, s_.in, s_.taps(), first_tap, last_tap, column, out);
        }
    }

    void multiply(int half, const int64_t * at, int taps, int columns, bool accumulate, float * c) const {
        const void * rows[kMaxTaps * kTileRows];
        for (int i = 0; i < taps * kTileRows; ++i) rows[i] = at[i] < 0 ? zeros_ : x_ + at[i] * row_bytes_;
        tiles_.multiply(taps, lanes_, rows, panels_[half], columns, accumulate, c);
    }

private:
    /// 16 rows in the tile set's element type: in place if they are stored in it, otherwise converted. Zeros past the end.
    const void * weight_rows(int64_t first, int64_t * stride) const {
        const Element own = tiles_.bf16 ? Element::bf16 : Element::f32;
        const int64_t element = tiles_.element_bytes();
        const uint8_t * base = static_cast<const uint8_t *>(w_.data);
        if (w_.type == own && first + 16 <= w_.rows && w_.row_bytes % element == 0) {
            *stride = w_.row_bytes / element;
            return base + first * w_.row_bytes;
        }
        *stride = w_.k;
        uint8_t * out = static_cast<uint8_t *>(scratch(Scratch::weight_rows, static_cast<size_t>(16 * w_.k * element)));
        for (int64_t r = 0; r < 16; ++r) {
            uint8_t * target = out + r * w_.k * element;
            if (first + r >= w_.rows) {
                std::memset(target, 0, static_cast<size_t>(w_.k * element));
                continue;
            }
            const void * source = base + (first + r) * w_.row_bytes;
            Element type = w_.type;
            if (type == Element::other) {
                float * full = static_cast<float *>(scratch(Scratch::float_row, static_cast<size_t>(w_.k) * sizeof(float)));
                w_.to_float(source, full, w_.k);
                source = full;
                type = Element::f32;
            }
            tiles_.convert_row(source, type, w_.k, w_.k, target);
        }
        return out;
    }

    const TileSet & tiles_;
    const ConvShape & s_;
    const Matrix & w_;
    int64_t lanes_;
    const uint8_t * x_;
    int64_t row_bytes_;
    const uint8_t * zeros_;
    const uint8_t * panels_[2] = {nullptr, nullptr};
};

/// Weights packed at load, activations quantised.
class Int8Product {
public:
    Int8Product(const Int8Set & set, const ConvShape & shape, const void * x, const Int8Matrix & w)
        : set_(set), w_(w), blocks_(shape.in), format_{Form::int8, shape.n * shape.height * shape.width, shape.in} {
        x_ = static_cast<const uint8_t *>(x);
        scales_ = reinterpret_cast<const Int8Scale *>(x_ + format_.scales_at());
        const int64_t row = (blocks_.row_bytes() + 63) / 64 * 64;
        zeros_ = zero_row(row + blocks_.count * static_cast<int64_t>(sizeof(Int8Scale)));
        no_scales_ = reinterpret_cast<const Int8Scale *>(zeros_ + row);
    }

    int64_t tap_bytes() const { return blocks_.row_bytes() * kTileColumns; }
    int64_t cache() const { return set_.panel_bytes; }
    const float * scales(int64_t panel) const { return w_.scales(panel); }

    void prepare(int half, int64_t panel, int first_tap, int) {
        panels_[half] = w_.panel(panel) + first_tap * tap_bytes();
        sums_[half] = w_.sums(panel) + first_tap * blocks_.count * kTileColumns;
    }

    void multiply(int half, const int64_t * at, int taps, int columns, bool accumulate, float * c) const {
        const uint8_t * rows[kMaxTaps * kTileRows];
        const Int8Scale * scales[kMaxTaps * kTileRows];
        for (int i = 0; i < taps * kTileRows; ++i) {
            rows[i] = at[i] < 0 ? zeros_ : x_ + at[i] * blocks_.row_bytes();
            scales[i] = at[i] < 0 ? no_scales_ : scales_ + at[i] * blocks_.count;
        }
        set_.multiply(taps, blocks_, rows, scales, panels_[half], sums_[half], columns, accumulate, c);
    }

private:
    const Int8Set & set_;
    const Int8Matrix & w_;
    Int8Blocks blocks_;
    RowFormat format_;
    const uint8_t * x_ = nullptr;
    const Int8Scale * scales_ = nullptr;
    const uint8_t * zeros_ = nullptr;
    const Int8Scale * no_scales_ = nullptr;
    const int8_t * panels_[2] = {nullptr, nullptr};
    const float * sums_[2] = {nullptr, nullptr};
};

}  // namespace

ConvShape ConvShape::linear(int64_t tokens, int64_t in, int64_t out) {
    ConvShape s;
    s.in = in, s.out = out, s.height = s.out_height = 1, s.width = s.out_width = tokens;
    s.kernel = 1, s.pad_left = s.pad_top = 0;
    return s;
}

void conv2d(const TileSet & tiles, const VectorSet & vectors, const ConvShape & shape, const void * x, const Matrix & w,
            const Epilogue & epilogue, const ProductOutput & out, Share share) {
    StoredProduct product(tiles, shape, x, w);
    run(product, shape, Finish(tiles, vectors, shape, epilogue, out), share);
}

void conv2d(const Int8Set & set, const TileSet & tiles, const VectorSet & vectors, const ConvShape & shape, const void * x,
            const Int8Matrix & w, const Epilogue & epilogue, const ProductOutput & out, Share share) {
    Int8Product product(set, shape, x, w);
    run(product, shape, Finish(tiles, vectors, shape, epilogue, out), share);
}

int64_t conv_scratch(const TileSet & tiles, const ConvShape & s) {
    const int64_t tap = tiles.lanes(s.in) * kTileColumns * 4;
    const Schedule plan(s, s.out, tap, tiles.panel_bytes, 1);
    return 2 * (plan.taps_per_group * tap + plan.sum_tiles(s.taps()) * kTileFloats * 4) +
           s.in * s.taps() * (16 * tiles.element_bytes() + 4) + tap / kTileColumns;
}

}  // namespace latent::kernels
