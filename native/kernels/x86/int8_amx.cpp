#include "kernels/common/int8.h"

#if defined(LATENT_AMX)
#include "kernels/common/tile_f32.h"
#include "kernels/x86/amx.h"

namespace latent::kernels {
namespace {

constexpr int kRows = kTileSetRows, kGroups = kRows / kTileGroup;
constexpr int kHalf = 32;  // columns that are computed at a time

/// What the products of one block of channels read.
struct Block {
    const uint8_t * rows[kGroups];
    int64_t strides[kGroups];
    const uint8_t *panel, *tail;  // of the whole steps; of an incomplete last one, or null
    int64_t steps;
};

/// q[32][32] = sums of products, as integers: registers 0 to 3.
void multiply_block(const Block & block, int32_t * q) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    const uint8_t *a0 = block.rows[0], *a1 = block.rows[1], *b = block.panel;
    const auto step = [&](const uint8_t * columns) {
        _tile_loadd(6, columns, kLaneBytes);
        _tile_loadd(7, columns + kTileBytes, kLaneBytes);
        _tile_loadd(4, a0, block.strides[0]);
        _tile_loadd(5, a1, block.strides[1]);
        const uint8_t * next = columns + kStep * kLaneBytes;
        LATENT_UNROLL_ALL
        for (int i = 0; i < kStep; ++i) {
            prefetch(next + i * kLaneBytes);
            prefetch(next + i * kLaneBytes + kTileBytes);
        }
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    };
    for (int64_t i = 0; i < block.steps; ++i, a0 += kTileBytes, a1 += kTileBytes, b += kStep * kLaneBytes) step(b);
    if (block.tail) step(block.tail);
    constexpr int64_t kRow = kHalf * 4;
    _tile_stored(0, q, kRow);
    _tile_stored(1, q + 16, kRow);
    _tile_stored(2, q + kTileGroup * kHalf, kRow);
    _tile_stored(3, q + kTileGroup * kHalf + 16, kRow);
}

/// c[32][64] = (add ? c : 0) + scale * q + offset * sums, in 32 columns; the scales of row r are scales[r][block].
void add_scaled(const int32_t * q, const Int8Scale * const * scales, int64_t block, const float * sums, bool add, float * c) {
    const __m512 first = _mm512_loadu_ps(sums), second = _mm512_loadu_ps(sums + 16);
    for (int r = 0; r < kRows; ++r, q += kHalf, c += kTileColumns) {
        const __m512 scale = _mm512_set1_ps(scales[r][block].scale), offset = _mm512_set1_ps(scales[r][block].offset);
        const __m512 left = add ? _mm512_loadu_ps(c) : _mm512_setzero_ps();
        const __m512 right = add ? _mm512_loadu_ps(c + 16) : _mm512_setzero_ps();
        _mm512_storeu_ps(c,
                         _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(_mm512_load_si512(q)), _mm512_fmadd_ps(offset, first, left)));
        _mm512_storeu_ps(c + 16, _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(_mm512_load_si512(q + 16)),
                                                 _mm512_fmadd_ps(offset, second, right)));
    }
}

/// The incomplete last step of each block of each segment, filled up with zeros.
uint8_t * arrange_tails(int64_t segments, const Int8Blocks & blocks, const uint8_t * panel) {
    constexpr int64_t kBytes = kStep * kLaneBytes;
    uint8_t * tails =
        static_cast<uint8_t *>(scratch(Scratch::tile_columns, static_cast<size_t>(segments * blocks.count * kBytes)));
    uint8_t * out = tails;
    for (int64_t s = 0; s < segments; ++s) {
        for (int64_t b = 0; b < blocks.count; ++b, out += kBytes) {
            const int64_t lanes = blocks.lanes_of(b), rest = lanes % kStep;
            panel += (lanes - rest) * kLaneBytes;
            std::memcpy(out, panel, static_cast<size_t>(rest * kLaneBytes));
            std::memset(out + rest * kLaneBytes, 0, static_cast<size_t>((kStep - rest) * kLaneBytes));
            panel += rest * kLaneBytes;
        }
    }
    return tails;
}

void multiply(int64_t segments, const Int8Blocks & blocks, const uint8_t * const * rows, const Int8Scale * const * scales,
              const int8_t * panel, const float * sums, int columns, bool accumulate, float * c) {
    const uint8_t * from = reinterpret_cast<const uint8_t *>(panel);
    const bool whole = blocks.block_lanes % kStep == 0 && blocks.lanes % kStep == 0;
    Rows arranged[kMostSegments * kGroups];
    // What a tile load reads beyond the channels of a block is multiplied by zeros, but must be readable.
    arrange(segments * kGroups, blocks.row_bytes(), whole, rows, arranged);
    const uint8_t * tails = whole ? nullptr : arrange_tails(segments, blocks, from);
    finish_stores();

    // While one block is multiplied, the sums of the one before are scaled.
    alignas(64) int32_t q[2][kRows * kHalf];
    for (int column = 0; column < columns; column += kHalf) {
        const uint8_t *b = from + column * 4, *t = tails ? tails + column * 4 : nullptr;
        int64_t index = 0;
        const auto add = [&](int64_t i) {
            add_scaled(q[i % 2], scales + i / blocks.count * kRows, i % blocks.count, sums + i * kTileColumns + column,
                       accumulate || i > 0, c + column);
        };
        for (int64_t s = 0; s < segments; ++s) {
            const Rows * group = arranged + s * kGroups;
            for (int64_t k = 0; k < blocks.count; ++k, ++index) {
                const int64_t lanes = blocks.lanes_of(k), first = k * blocks.block_lanes * 4;
                Block block{
                    {group[0].at + first, group[1].at + first}, {group[0].stride, group[1].stride}, b, nullptr, lanes / kStep};
                if (lanes % kStep != 0) block.tail = t;
                multiply_block(block, q[index % 2]);
                if (index > 0) add(index - 1);
                b += lanes * kLaneBytes;
                if (t) t += kStep * kLaneBytes;
            }
        }
        add(index - 1);
    }
}

}  // namespace

const Int8Set & int8_amx() {
    static const Int8Set set = []() noexcept {
        Int8Set amx = int8_avx512vnni();
        amx.name = "amx_int8";
        amx.multiply = multiply;
        amx.panel_bytes = int64_t{1} << 20;
        amx.tile_rows = kRows;
        amx.begin = configure_tiles;
        amx.end = release_tiles;
        return amx;
    }();
    return set;
}

}  // namespace latent::kernels
#endif
