#include "kernels/common/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/common/scratch.h"

namespace latent::kernels {
namespace {

/// The maximum before any score: finite, but far below any real one, so that a block whose scores are all -infinity has no
/// weight.
constexpr float kNoScore = -1e38f;
constexpr int64_t kSpread = 32;      // elements: rows a multiple of 4 KB apart would share a few places of the first-level cache
constexpr int64_t kTransposed = 64;  // keys whose values are transposed at once
constexpr int64_t kKeyBlock = 192;   // whole tiles of any set; the scores of a block stay in the second-level cache

int64_t round_up(int64_t x, int64_t to) {
    return (x + to - 1) / to * to;
}

/// How a head's keys and values are kept: keys as rows [keys][dim] in the tile set's element type, or in bytes for scores in
/// 8-bit integers; values transposed [dim][keys]. Both are padded to whole tiles with zeros.
struct HeadLayout {
    int64_t key_rows, key_bytes;       // rows, and bytes of one
    int64_t value_rows, value_stride;  // rows, and elements of one
    int64_t scales = 0;                // one per block of keys, if they are bytes
    int64_t mean = 0;                  // floats

    HeadLayout(const TileSet & tiles, const Int8Scores * int8, const AttentionShape & s)
        : key_rows(round_up(s.keys, int8 ? kTileRows : tiles.rows)),
          key_bytes(int8 ? round_up(s.dim, 4) : tiles.padded(s.dim) * tiles.element_bytes()),
          value_rows(round_up(s.dim, tiles.rows)),
          value_stride(tiles.padded(s.keys) + kSpread) {
        if (int8) scales = (s.keys + kKeyBlock - 1) / kKeyBlock, mean = 2 * s.dim;
    }
    int64_t values_at() const { return round_up(key_rows * key_bytes, 64); }
    int64_t floats_at(const TileSet & tiles) const {
        return round_up(values_at() + value_rows * value_stride * tiles.element_bytes(), 64);
    }
    int64_t bytes(const TileSet & tiles) const {
        return floats_at(tiles) + (scales + mean) * static_cast<int64_t>(sizeof(float));
    }
};

struct Head {
    uint8_t * keys = nullptr;
    uint8_t * values = nullptr;
    float * scales = nullptr;
};

Head convert_head(const TileSet & tiles, const Int8Scores * int8, const VectorSet & vectors, const AttentionShape & s,
                  const float * k, const float * v, uint8_t * memory) {
    const int64_t element = tiles.element_bytes(), width = s.heads * s.dim;
    const HeadLayout layout(tiles, int8, s);
    Head head;
    head.keys = memory;
    head.values = memory + layout.values_at();
    head.scales = reinterpret_cast<float *>(memory + layout.floats_at(tiles));
    if (int8) {
        float * mean = head.scales + layout.scales;
        vectors.column_moments(k, width, s.keys, s.dim, mean, mean + s.dim);
        for (int64_t first = 0; first < s.keys; first += kKeyBlock) {
            head.scales[first / kKeyBlock] =
                int8->quantise_keys(k + first * width, width, std::min(kKeyBlock, s.keys - first), s.dim, mean, layout.key_bytes,
                                    head.keys + first * layout.key_bytes);
        }
        std::memset(head.keys + s.keys * layout.key_bytes, 0, static_cast<size_t>((layout.key_rows - s.keys) * layout.key_bytes));
    } else {
        for (int64_t key = 0; key < layout.key_rows; ++key) {
            const bool real = key < s.keys;
            tiles.convert_row(real ? k + key * width : k, Element::f32, real ? s.dim : 0, tiles.padded(s.dim),
                              head.keys + key * layout.key_bytes);
        }
    }
    // Values are transposed some keys at a time, which stay in the first-level cache.
    const int64_t rows = layout.value_rows;
    float * block = static_cast<float *>(scratch(Scratch::float_row, static_cast<size_t>(rows * kTransposed) * sizeof(float)));
    std::fill(block + s.dim * kTransposed, block + rows * kTransposed, 0.0f);
    for (int64_t first = 0; first < layout.value_stride; first += kTransposed) {
        const int64_t count = std::clamp<int64_t>(s.keys - first, 0, kTransposed);
        vectors.transpose(v + first * width, width, count, s.dim, block, kTransposed);
        const int64_t padded = std::min(kTransposed, layout.value_stride - first);
        for (int64_t d = 0; d < rows; ++d)
            tiles.convert_row(block + d * kTransposed, Element::f32, count, padded,
                              head.values + (d * layout.value_stride + first) * element);
    }
    return head;
}

/// c[count][64] = (accumulate ? c : 0) + rows, `stride` bytes apart, times a panel. Rows and c go on to a whole tile.
void multiply_rows(const TileSet & tiles, int64_t count, int64_t stride, int64_t lanes, const uint8_t * first, const void * panel,
                   bool accumulate, float * c) {
    if (tiles.multiply_even) return tiles.multiply_even(count, stride, lanes, first, panel, accumulate, c);
    const void * rows[kMostTileRows];
    for (int64_t row = 0; row < count; row += tiles.rows) {
        for (int r = 0; r < tiles.rows; ++r) rows[r] = first + (row + r) * stride;
        tiles.multiply(1, lanes, rows, panel, kTileColumns, accumulate, c + row * kTileColumns);
    }
}

/// Fills the lanes of a bfloat16 panel from `lanes` to `end` with zeros; float32 panels have none (TileSet::padded()).
void clear_lanes(uint8_t * panel, int64_t lanes, int64_t end) {
    std::memset(panel + lanes * kTileColumns * 4, 0, static_cast<size_t>((end - lanes) * kTileColumns * 4));
}

/// Scores of the keys from `first` that come after a query: columns are the queries from `query`.
void hide_later_keys(float * scores, int64_t first, int64_t count, int64_t query) {
    for (int64_t key = std::max<int64_t>(0, query + 1 - first); key < count; ++key) {
        const int64_t earlier = std::min<int64_t>(kTileColumns, first + key - query);
        std::fill_n(scores + key * kTileColumns, earlier, -std::numeric_limits<float>::infinity());
    }
}

struct Work {
    uint8_t * query_panel;  // [dim][64]
    uint8_t * score_panel;  // [kKeyBlock][64]
    float * scores;         // [kKeyBlock and a tile][64]
    float * sums;           // [dim rounded up to tiles][64]
};

/// The queries from the position `query`; `q` and `out` are theirs.
void attend(const TileSet & tiles, const Int8Scores * int8, const VectorSet & vectors, const AttentionShape & s,
            const Head & head, int64_t query, const float * q, int queries, const Work & work, float * out) {
    const int64_t element = tiles.element_bytes(), width = s.heads * s.dim;
    const HeadLayout layout(tiles, int8, s);
    float scale = 1.0f / std::sqrt(static_cast<float>(s.dim));
    float highest[kTileColumns], total[kTileColumns], correction[kTileColumns];
    int32_t start[kTileColumns];
    for (int i = 0; i < kTileColumns; ++i) highest[i] = kNoScore, total[i] = 0.0f;
    std::fill_n(work.sums, layout.value_rows * kTileColumns, 0.0f);
    int8_t * bytes = reinterpret_cast<int8_t *>(work.query_panel);
    const int64_t query_lanes = layout.key_bytes / 4;
    if (int8) {
        scale *= int8->pack_queries(q, width, queries, s.dim, bytes, start);
    } else {
        tiles.pack_tokens(q, width, queries, s.dim, work.query_panel);
        clear_lanes(work.query_panel, tiles.lanes(s.dim), query_lanes);
    }

    const int64_t seen = s.causal ? std::min(s.keys, query + queries) : s.keys;
    for (int64_t first = 0; first < seen; first += kKeyBlock) {
        const int64_t count = std::min(kKeyBlock, seen - first);
        const uint8_t * keys = head.keys + first * layout.key_bytes;
        float block_scale = scale, offset = 0.0f;
        if (int8) {
            int8->multiply(count, query_lanes, keys, bytes, start, work.scores);
            block_scale *= head.scales[first / kKeyBlock];
            offset = Int8Scores::kOffset;
            // The softmax subtracts the scaled offset, which must not hide differences of scores.
            if (block_scale > 16.0f) {
                for (int64_t i = 0; i < count * kTileColumns; ++i) work.scores[i] -= offset;
                offset = 0.0f;
            }
        } else {
            multiply_rows(tiles, count, layout.key_bytes, query_lanes, keys, work.query_panel, false, work.scores);
            if (s.causal) hide_later_keys(work.scores, first, count, query);
        }
        tiles.softmax(work.scores, count, block_scale, offset, highest, total, correction, work.score_panel);
        if (first > 0) tiles.scale_columns(work.sums, layout.value_rows, correction);
        const int64_t lanes = tiles.lanes(tiles.padded(count));
        clear_lanes(work.score_panel, tiles.lanes(count), lanes);
        multiply_rows(tiles, s.dim, layout.value_stride * element, lanes, head.values + first * element, work.score_panel, true,
                      work.sums);
    }
    for (int i = 0; i < kTileColumns; ++i)
        total[i] = highest[i] == kNoScore ? std::numeric_limits<float>::quiet_NaN() : 1.0f / total[i];
    tiles.scale_columns(work.sums, layout.value_rows, total);
    vectors.transpose(work.sums, kTileColumns, s.dim, queries, out, width);
}

/// Bytes of one thread's work on 64 queries: the floats, then the two panels.
struct WorkBytes {
    int64_t floats, queries, scores;
    WorkBytes(const TileSet & tiles, const Int8Scores * int8, const AttentionShape & s)
        : floats((kKeyBlock + std::max(tiles.rows, kTileRows) + round_up(s.dim, tiles.rows)) * kTileColumns * 4),
          queries(HeadLayout(tiles, int8, s).key_bytes * kTileColumns),
          scores(kKeyBlock * kTileColumns * tiles.element_bytes()) {}
    int64_t total() const { return floats + queries + scores; }
};

}  // namespace

int64_t attention_scratch(const TileSet & tiles, const Int8Scores * int8, const AttentionShape & s) {
    return HeadLayout(tiles, int8, s).bytes(tiles) + round_up(s.dim, tiles.rows) * kTransposed * 4 +
           WorkBytes(tiles, int8, s).total();
}

void attention(const TileSet & tiles, const Int8Scores * int8, const AttentionShape & s, const float * q, const float * k,
               const float * v, float * out, Share share) {
    const int64_t width = s.heads * s.dim;
    const int64_t panels = (s.queries + kTileColumns - 1) / kTileColumns, pairs = s.batch * s.heads;

    // Each thread gets whole heads if there are enough; otherwise the queries of a head are divided, and each thread converts the
    // head's keys.
    const int64_t splits = std::clamp<int64_t>((2 * share.threads + pairs - 1) / pairs, 1, std::max<int64_t>(panels, 1));
    const int64_t per_split = (panels + splits - 1) / splits;

    uint8_t * converted =
        static_cast<uint8_t *>(scratch(Scratch::attention_head, static_cast<size_t>(HeadLayout(tiles, int8, s).bytes(tiles))));
    const WorkBytes bytes(tiles, int8, s);
    uint8_t * memory = static_cast<uint8_t *>(scratch(Scratch::attention_work, static_cast<size_t>(bytes.total())));
    Work work;
    work.scores = reinterpret_cast<float *>(memory);
    work.sums = work.scores + (kKeyBlock + std::max(tiles.rows, kTileRows)) * kTileColumns;
    work.query_panel = memory + bytes.floats;
    work.score_panel = work.query_panel + bytes.queries;

    const VectorSet & vectors = vector_set();
    const TileUse use(tiles);
    Head head;
    int64_t held = -1;  // the pair whose keys and values `head` has
    for (int64_t task = share.thread; task < pairs * splits; task += share.threads) {
        const int64_t pair = task / splits, b = pair / s.heads, h = pair % s.heads;
        const int64_t first = task % splits * per_split, last = std::min(first + per_split, panels);
        if (first >= last) continue;
        const int64_t keys = b * s.keys * width + h * s.dim;
        if (held != pair) head = convert_head(tiles, int8, vectors, s, k + keys, v + keys, converted);
        held = pair;
        for (int64_t p = first; p < last; ++p) {
            const int64_t t = p * kTileColumns;
            const int64_t at = (b * s.queries + t) * width + h * s.dim;
            attend(tiles, int8, vectors, s, head, t, q + at, static_cast<int>(std::min<int64_t>(kTileColumns, s.queries - t)),
                   work, out + at);
        }
    }
}

}  // namespace latent::kernels
