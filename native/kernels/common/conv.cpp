#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/common/conv_plan.h"
#include "kernels/common/matmul.h"
#include "kernels/common/rows.h"
#include "kernels/common/scratch.h"

#if defined(_M_X64) && !defined(__GNUC__)
#include <xmmintrin.h>
#endif

namespace latent::kernels {
namespace {

constexpr int64_t kLine = 64;  // bytes of a cache line

/// A hint; any address is allowed.
#if defined(__GNUC__)
inline void prefetch(const void * at) {
    __builtin_prefetch(at, 0, 3);
}
#elif defined(_M_X64)
inline void prefetch(const void * at) {
    _mm_prefetch(static_cast<const char *>(at), _MM_HINT_T0);
}
#else
inline void prefetch(const void *) {}
#endif

/// Turns sums into results, a tile at a time.
class Finish {
public:
    Finish(const TileSet & tiles, const VectorSet & vectors, const ConvShape & shape, const Epilogue & epilogue,
           const ProductOutput & out)
        : tiles_(tiles), vectors_(vectors), s_(shape), e_(epilogue), out_(out), width_(epilogue.width(shape.out)) {
        row_ = out.bf16 ? (width_ + 1) / 2 * 2 : width_;
    }
    int64_t width() const { return width_; }

    /// Starts to load what tile() adds.
    void expect(int64_t pixel, int64_t count, int64_t column, int columns) const {
        if (!e_.residual) return;
        for (int64_t r = 0; r < count; ++r) {
            const char * at = reinterpret_cast<const char *>(e_.residual + (pixel + r) * width_ + column);
            for (int64_t b = 0; b < columns * 4; b += kLine) prefetch(at + b);
        }
    }

    /// `count` pixels of a tile; `scales` of the output channels of each half, or null.
    void tile(int64_t pixel, int64_t count, int64_t column, int columns, const float * sums, const float * gates,
              const float * const * scales) const {
        const int64_t image = s_.out_height * s_.out_width;
        while (count > 0) {  // what is added per image ends with it
            const int64_t part = e_.channel_add ? std::min(count, image - pixel % image) : count;
            rows(pixel, part, column, columns, sums, gates, scales);
            pixel += part, count -= part, sums += part * kTileColumns, gates += part * kTileColumns;
        }
    }

private:
    /// The factors of the sums: of 8-bit weights, the gain, or the products of both.
    const float * scale(const float * weights, int64_t column, int columns, float * products) const {
        if (!e_.gain || !weights) return e_.gain ? e_.gain + column : weights;
        for (int i = 0; i < columns; ++i) products[i] = weights[i] * e_.gain[column + i];
        return products;
    }

    void rows(int64_t pixel, int64_t count, int64_t column, int columns, const float * sums, const float * gates,
              const float * const * scales) const {
        float buffer[kMostTileRows * kTileColumns], other[kMostTileRows * kTileColumns];
        const int64_t at = pixel * row_ + column;
        Finishing f;
        f.rows = count, f.columns = columns, f.stride = kTileColumns;
        float products[2][kTileColumns];
        f.sums = sums, f.scale = scale(scales[0], column, columns, products[0]), f.bias = e_.bias ? e_.bias + column : nullptr;
        if (e_.channel_add) f.add = e_.channel_add + pixel / (s_.out_height * s_.out_width) * s_.out + column;
        f.out = out_.bf16 ? buffer : static_cast<float *>(out_.data) + at;
        f.out_stride = out_.bf16 ? int64_t{kTileColumns} : row_;
        if (e_.geglu) {
            Finishing gate = f;
            gate.sums = gates, gate.scale = scale(scales[1], column + width_, columns, products[1]);
            gate.out = other, gate.out_stride = kTileColumns;
            gate.bias = f.bias ? f.bias + width_ : nullptr, gate.add = f.add ? f.add + width_ : nullptr;
            vectors_.finish(gate);
            float * target = f.out;
            f.out = buffer, f.out_stride = kTileColumns;
            vectors_.finish(f);
            for (int64_t r = 0; r < count; ++r)
                vectors_.geglu(buffer + r * kTileColumns, other + r * kTileColumns,
                               out_.bf16 ? buffer + r * kTileColumns : target + r * row_, columns);
        } else {
            if (e_.residual) f.residual = e_.residual + pixel * width_ + column, f.residual_stride = width_;
            f.gate = e_.activation;
            vectors_.finish(f);
        }
        if (!out_.bf16) return;
        const int64_t padded = column + columns == width_ ? row_ - column : columns;  // pads an odd last element of a row
        uint8_t * out = static_cast<uint8_t *>(out_.data) + at * 2;
        for (int64_t r = 0; r < count; ++r, out += row_ * 2)
            tiles_.convert_row(buffer + r * kTileColumns, Element::f32, columns, padded, out);
    }

    const TileSet & tiles_;
    const VectorSet & vectors_;
    const ConvShape & s_;
    const Epilogue & e_;
    const ProductOutput & out_;
    int64_t width_, row_;  // elements of a result row, and the distance between rows
};

/// The algorithm, shared by all element types. Product:
///   groups(); scales(panel): of output channels, or null; unit() and rows(): of Taps; panel_bytes(): of a group, all taps
///   prepare(place, places, panel, group): prepares the group's part of a panel, one of `places`
///   multiply(place, at, group, columns, accumulate, c): the tile whose input pixels are `at`
///   prepare_side(place, places, panel), add_side(place, pixel, columns, c): the same for the side product, if has_side()
/// In a geglu, every panel of values has the next place for that of its gates, which are computed together with them.
template <typename Product>
void run(Product & product, const ConvShape & s, const Finish & finish, Share share) {
    const Groups groups = product.groups();
    const int count = groups.count();
    const int rows = product.rows();
    const int64_t tile = rows * kTileColumns;  // floats
    const int halves = finish.width() < s.out ? 2 : 1;
    const Schedule plan(s, finish.width(), rows, count > 1, held_bytes(product.cache_bytes()) / (product.panel_bytes() * halves),
                        share.threads);
    const int places = static_cast<int>(plan.panels_each) * halves;
    const Taps taps(s, product.unit(), rows);
    float * sums =
        static_cast<float *>(scratch(Scratch::sums, static_cast<size_t>(plan.sum_tiles() * halves * tile) * sizeof(float)));
    int64_t at[kMaxTaps * kMostTileRows];

    int64_t packed = -1;  // the first of the panels that are prepared, if they have a single group
    const int64_t end = plan.tasks() * (share.thread + 1) / share.threads;
    for (int64_t index = plan.tasks() * share.thread / share.threads; index < end;) {
        const Schedule::Task task = plan.next(index, end);
        const int64_t gate = finish.width() / kTileColumns;  // from a panel of values to that of its gates
        for (int g = 0; g < count; ++g) {
            const Group group = groups.at(g);
            const bool last_group = g + 1 == count;
            for (int place = 0; place < task.panels * halves && (count > 1 || packed != task.panel); ++place) {
                const int64_t panel = task.panel + place / halves + place % halves * gate;
                product.prepare(place, places, panel, group);
                if (last_group && product.has_side()) product.prepare_side(place, places, panel);
            }
            packed = task.panel;
            for (int64_t pixel = task.first; pixel < task.last; pixel += rows) {
                float * c = sums + (count > 1 ? (pixel - task.first) / rows * halves * tile : 0);
                taps.find(pixel, group.first_tap, group.last_tap, at);
                for (int64_t panel = task.panel; panel < task.panel + task.panels; ++panel) {
                    const int64_t column = panel * kTileColumns;
                    const int columns = static_cast<int>(std::min<int64_t>(kTileColumns, finish.width() - column));
                    const int place = static_cast<int>(panel - task.panel) * halves;
                    if (last_group) finish.expect(pixel, std::min<int64_t>(rows, task.last - pixel), column, columns);
                    for (int half = 0; half < halves; ++half)
                        product.multiply(place + half, at, group, columns, g > 0, c + half * tile);
                    if (!last_group) continue;
                    for (int half = 0; half < halves && product.has_side(); ++half)
                        product.add_side(place + half, pixel, columns, c + half * tile);
                    const float * const scales[2] = {product.scales(panel), halves > 1 ? product.scales(panel + gate) : nullptr};
                    finish.tile(pixel, std::min<int64_t>(rows, task.last - pixel), column, columns, c, c + tile, scales);
                }
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
    StoredProduct(const TileSet & tiles, const ConvShape & shape, const void * x, const Matrix & w, const SideProduct & side)
        : tiles_(tiles),
          s_(shape),
          w_(w),
          side_(side),
          x_(static_cast<const uint8_t *>(x)),
          row_bytes_(tiles.lanes(shape.in) * 4),
          zeros_(zero_row(std::max(row_bytes_, tiles.lanes(side.w.k) * 4))),
          narrow_(tiles.multiply_narrow && shape.out <= kNarrowColumns && shape.in % kNarrowStep == 0) {}

    /// The smallest number of channels that consists of whole blocks of weights.
    static int64_t channel_step(const ConvShape & s, int64_t block) {
        constexpr int64_t kLeast = 32;
        return std::lcm(kLeast, block / std::gcd(block, int64_t{s.taps()}));
    }
    static Groups groups_of(const TileSet & tiles, const ConvShape & s, int64_t block) {
        const int taps = std::min(s.taps(), kMaxTaps);
        const int64_t step = channel_step(s, block);
        const int64_t step_bytes = tiles.lanes(step) * kTileColumns * 4 * taps;
        const int64_t steps = (s.in + step - 1) / step, most = std::max<int64_t>(1, tiles.panel_bytes / step_bytes);
        const int64_t count = (steps + most - 1) / most;  // number of groups of equal size
        return {s.taps(), taps, s.in, std::min(s.in, (steps + count - 1) / count * step)};
    }
    Groups groups() const { return groups_of(tiles_, s_, w_.block); }
    int64_t panel_bytes() const { return panel_bytes_of(tiles_, groups()); }
    int64_t cache_bytes() const { return tiles_.panel_bytes; }
    static int64_t panel_bytes_of(const TileSet & tiles, const Groups & groups) {
        return groups.taps_each * tiles.lanes(groups.channels_each) * kTileColumns * 4;
    }
    const float * scales(int64_t) const { return nullptr; }
    int64_t unit() const { return row_bytes_; }
    int rows() const { return tiles_.rows; }

    void prepare(int place, int places, int64_t panel, const Group & group) {
        PanelPart part;
        part.lanes = tiles_.lanes(group.channels);
        const int64_t bytes = (group.last_tap - group.first_tap) * part.lanes * kTileColumns * 4;
        uint8_t * out = static_cast<uint8_t *>(scratch(Scratch::panels, static_cast<size_t>(places * bytes))) + place * bytes;
        panels_[place] = out;
        const int64_t step = rows_step(), end = group.first_channel + group.channels;
        for (int64_t channel = group.first_channel; channel < end; channel += step) {
            const int64_t channels = std::min(step, end - channel);
            part.first_lane = tiles_.lanes(channel - group.first_channel);
            for (part.column = 0; part.column < kTileColumns; part.column += 16) {
                int64_t stride = 0;
                const void * rows = weight_rows(w_, s_.taps(), panel * kTileColumns + part.column, channel, channels, &stride);
                if (narrow_) {
                    pack_narrow(static_cast<const float *>(rows), stride, channels, group, part, reinterpret_cast<float *>(out));
                    break;
                }
                tiles_.pack_weights(rows, stride, channels, s_.taps(), group.first_tap, group.last_tap, part, out);
            }
        }
    }

    void multiply(int place, const int64_t * at, const Group & group, int columns, bool accumulate, float * c) const {
        const void * rows[kMaxTaps * kMostTileRows];
        const int taps = group.last_tap - group.first_tap;
        const uint8_t * x = x_ + group.first_channel * tiles_.element_bytes();
        for (int i = 0; i < taps * tiles_.rows; ++i) rows[i] = at[i] < 0 ? zeros_ : x + at[i];
        const int64_t lanes = tiles_.lanes(group.channels);
        if (narrow_) {
            const float * panel = reinterpret_cast<const float *>(panels_[place]);
            return tiles_.multiply_narrow(taps, lanes, rows, panel, columns, accumulate, c);
        }
        tiles_.multiply(taps, lanes, rows, panels_[place], columns, accumulate, c);
    }

    bool has_side() const { return static_cast<bool>(side_); }
    void prepare_side(int place, int places, int64_t panel) {
        PanelPart part;
        part.lanes = tiles_.lanes(side_.w.k);
        const int64_t bytes = part.lanes * kTileColumns * 4;
        uint8_t * out =
            static_cast<uint8_t *>(scratch(Scratch::side_panels, static_cast<size_t>(places * bytes))) + place * bytes;
        side_panels_[place] = out;
        for (part.column = 0; part.column < kTileColumns; part.column += 16) {
            int64_t stride = 0;
            const void * rows = weight_rows(side_.w, 1, panel * kTileColumns + part.column, 0, side_.w.k, &stride);
            tiles_.pack_weights(rows, stride, side_.w.k, 1, 0, 1, part, out);
        }
    }
    void add_side(int place, int64_t pixel, int columns, float * c) const {
        const void * rows[kMostTileRows];
        const uint8_t * x = static_cast<const uint8_t *>(side_.x);
        const int64_t count = std::min<int64_t>(tiles_.rows, s_.pixels() - pixel);
        for (int64_t i = 0; i < tiles_.rows; ++i) rows[i] = i < count ? x + (pixel + i) * side_.row_bytes : zeros_;
        tiles_.multiply(1, tiles_.lanes(side_.w.k), rows, side_panels_[place], columns, true, c);
    }

    /// Bytes of the rows that are converted at once.
    static int64_t rows_bytes(const TileSet & tiles, const ConvShape & s, int64_t block) {
        return std::min(step_of(tiles, s, block), s.in) * s.taps() * (16 * tiles.element_bytes() + 4);
    }

private:
    /// Channels that are converted at once: long runs of a row (about a page), which the hardware prefetches, whose 16 converted
    /// rows stay in the second-level cache.
    static int64_t step_of(const TileSet & tiles, const ConvShape & s, int64_t block) {
        constexpr int64_t kBytes = int64_t{1} << 16;
        const int64_t step = channel_step(s, block);
        return std::max<int64_t>(1, kBytes / (16 * tiles.element_bytes() * s.taps() * step)) * step;
    }
    int64_t rows_step() const { return step_of(tiles_, s_, w_.block); }

    /// The part of a panel for multiply_narrow() that has these channels of the first rows.
    void pack_narrow(const float * rows, int64_t stride, int64_t channels, const Group & group, const PanelPart & part,
                     float * panel) const {
        const int taps = s_.taps();
        for (int tap = group.first_tap; tap < group.last_tap; ++tap) {
            for (int column = 0; column < kNarrowColumns; ++column) {
                const float * from = rows + column * stride + tap;
                float * to = panel + ((tap - group.first_tap) * kNarrowColumns + column) * part.lanes + part.first_lane;
                for (int64_t c = 0; c < channels; ++c) to[c] = from[c * taps];
            }
        }
    }

    /// 16 rows of some channels in the tile set's element type: in place if they are stored in it, otherwise converted. Zeros
    /// past the end.
    const void * weight_rows(const Matrix & w, int taps, int64_t first, int64_t channel, int64_t channels,
                             int64_t * stride) const {
        const Element own = tiles_.bf16 ? Element::bf16 : Element::f32;
        const int64_t element = tiles_.element_bytes(), count = channels * taps;
        const uint8_t * base = static_cast<const uint8_t *>(w.data) + w.offset(channel * taps);
        if (w.type == own && first + 16 <= w.rows && w.row_bytes % element == 0) {
            *stride = w.row_bytes / element;
            return base + first * w.row_bytes;
        }
        *stride = count;
        uint8_t * out = static_cast<uint8_t *>(scratch(Scratch::weight_rows, static_cast<size_t>(16 * count * element)));
        for (int64_t r = 0; r < 16; ++r) {
            uint8_t * target = out + r * count * element;
            if (first + r >= w.rows) {
                std::memset(target, 0, static_cast<size_t>(count * element));
                continue;
            }
            const void * source = base + (first + r) * w.row_bytes;
            const char * next = static_cast<const char *>(source) + w.row_bytes;
            for (int64_t b = 0; b < w.offset(count); b += kLine) prefetch(next + b);
            if (w.type != Element::other) {
                tiles_.convert_row(source, w.type, count, count, target);
            } else if (own == Element::f32) {
                w.to_float(source, reinterpret_cast<float *>(target), count);
            } else if (!tiles_.convert_blocks || !tiles_.convert_blocks(w.blocks, source, count, target)) {
                float * full = static_cast<float *>(scratch(Scratch::float_row, static_cast<size_t>(count) * sizeof(float)));
                w.to_float(source, full, count);
                tiles_.convert_row(full, Element::f32, count, count, target);
            }
        }
        return out;
    }

    const TileSet & tiles_;
    const ConvShape & s_;
    const Matrix & w_;
    const SideProduct & side_;
    const uint8_t * x_;
    int64_t row_bytes_;
    const uint8_t * zeros_;
    bool narrow_;  // so few output channels that multiply_narrow() computes them
    const uint8_t * panels_[2 * kMostPanels] = {};
    const void * side_panels_[2 * kMostPanels] = {};
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

    Groups groups() const {
        const int64_t most = std::clamp<int64_t>(set_.panel_bytes / tap_bytes(), 1, kMaxTaps);
        return {w_.taps, std::min(w_.taps, static_cast<int>(most)), w_.channels, w_.channels};
    }
    int64_t panel_bytes() const { return w_.panel_bytes(); }
    int64_t cache_bytes() const { return set_.panel_bytes; }
    const float * scales(int64_t panel) const { return w_.scales(panel); }
    int64_t unit() const { return 1; }
    int rows() const { return set_.tile_rows; }
    bool has_side() const { return false; }
    void prepare_side(int, int, int64_t) {}
    void add_side(int, int64_t, int, float *) const {}

    void prepare(int place, int, int64_t panel, const Group & group) {
        panels_[place] = w_.panel(panel) + group.first_tap * tap_bytes();
        sums_[place] = w_.sums(panel) + group.first_tap * blocks_.count * kTileColumns;
    }

    void multiply(int place, const int64_t * at, const Group & group, int columns, bool accumulate, float * c) const {
        const uint8_t * rows[kMaxTaps * kMostTileRows];
        const Int8Scale * scales[kMaxTaps * kMostTileRows];
        const int taps = group.last_tap - group.first_tap;
        for (int i = 0; i < taps * set_.tile_rows; ++i) {
            rows[i] = at[i] < 0 ? zeros_ : x_ + at[i] * blocks_.row_bytes();
            scales[i] = at[i] < 0 ? no_scales_ : scales_ + at[i] * blocks_.count;
        }
        set_.multiply(taps, blocks_, rows, scales, panels_[place], sums_[place], columns, accumulate, c);
    }

private:
    int64_t tap_bytes() const { return blocks_.row_bytes() * kTileColumns; }

    const Int8Set & set_;
    const Int8Matrix & w_;
    Int8Blocks blocks_;
    RowFormat format_;
    const uint8_t * x_ = nullptr;
    const Int8Scale * scales_ = nullptr;
    const uint8_t * zeros_ = nullptr;
    const Int8Scale * no_scales_ = nullptr;
    const int8_t * panels_[2 * kMostPanels] = {};
    const float * sums_[2 * kMostPanels] = {};
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
    const TileUse use(tiles);
    StoredProduct product(tiles, shape, x, w, epilogue.side);
    run(product, shape, Finish(tiles, vectors, shape, epilogue, out), share);
}

void conv2d(const Int8Set & set, const TileSet & tiles, const VectorSet & vectors, const ConvShape & shape, const void * x,
            const Int8Matrix & w, const Epilogue & epilogue, const ProductOutput & out, Share share) {
    const TileUse use(set);
    Int8Product product(set, shape, x, w);
    run(product, shape, Finish(tiles, vectors, shape, epilogue, out), share);
}

int64_t conv_scratch(const TileSet & tiles, const ConvShape & s, int64_t side) {
    int64_t most = 0;
    for (const int64_t block : {int64_t{1}, int64_t{256}}) {  // for weights of any type
        const Groups groups = StoredProduct::groups_of(tiles, s, block);
        const bool grouped = groups.count() > 1;
        const int64_t panel = StoredProduct::panel_bytes_of(tiles, groups);
        const int64_t panels =
            std::max(2 * panel, std::min(held_bytes(tiles.panel_bytes), (s.out + kTileColumns - 1) / kTileColumns * panel));
        const int64_t sums = Schedule(s, s.out, tiles.rows, grouped, 1, 1).sum_tiles() * tiles.rows * kTileColumns * 4;
        // Copies of rows and of incomplete panels, which sets with deep products make.
        const int64_t blocks = s.in / (4 * Int8Blocks::kMostLanes) + 1, deep = tiles.lanes(tiles.depth) * 4;
        const int64_t copies =
            tiles.depth > 2 ? groups.taps_each *
                                  (tiles.rows * (tiles.lanes(groups.channels_each) * 4 + 2 * deep) + blocks * deep * kTileColumns)
                            : 0;
        most = std::max(most, copies + (s.taps() == 1 ? panels : 2 * panel) + 2 * sums +
                                  StoredProduct::rows_bytes(tiles, s, block) + tiles.lanes(s.in) * 4);
    }
    if (side == 0) return most;
    // Its panels, and the rows of weights, the float32 row and the row of zeros where they are longer; copies of rows as above.
    const int64_t lanes = tiles.lanes(side) * 4, copied = tiles.depth > 2 ? tiles.rows * (lanes + 8 * tiles.depth) : 0;
    const int64_t places = std::min<int64_t>(2 * kMostPanels, (s.out + kTileColumns - 1) / kTileColumns + 1);
    return most + places * lanes * kTileColumns + side * (16 * tiles.element_bytes() + 4) + lanes + copied;
}

}  // namespace latent::kernels
