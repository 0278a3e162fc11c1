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

/// One head's keys and values in the tile set's element type: keys as rows [keys][dim], values transposed [dim][keys], both
/// padded to whole tiles with zeros.
struct Head {
    uint8_t * keys = nullptr;
    uint8_t * values = nullptr;
    int64_t key_stride = 0, value_stride = 0;  // elements

    static int64_t value_stride_of(const TileSet & tiles, const AttentionShape & s) {
        return round_up(s.keys, tiles.depth) + kSpread;
    }
    static int64_t bytes(const TileSet & tiles, const AttentionShape & s) {
        return (round_up(s.keys, tiles.rows) * round_up(s.dim, tiles.depth) +
                round_up(s.dim, tiles.rows) * value_stride_of(tiles, s)) *
               tiles.element_bytes();
    }
};

Head convert_head(const TileSet & tiles, const VectorSet & vectors, const AttentionShape & s, const float * k, const float * v,
                  void * memory) {
    const int64_t element = tiles.element_bytes(), width = s.heads * s.dim;
    Head head;
    head.key_stride = round_up(s.dim, tiles.depth);
    head.value_stride = Head::value_stride_of(tiles, s);
    head.keys = static_cast<uint8_t *>(memory);
    head.values = head.keys + round_up(s.keys, tiles.rows) * head.key_stride * element;
    for (int64_t key = 0; key < round_up(s.keys, tiles.rows); ++key) {
        const bool real = key < s.keys;
        tiles.convert_row(real ? k + key * width : k, Element::f32, real ? s.dim : 0, head.key_stride,
                          head.keys + key * head.key_stride * element);
    }
    // Values are transposed some keys at a time, which stay in the first-level cache.
    const int64_t rows = round_up(s.dim, tiles.rows);
    float * block = static_cast<float *>(scratch(Scratch::float_row, static_cast<size_t>(rows * kTransposed) * sizeof(float)));
    std::fill(block + s.dim * kTransposed, block + rows * kTransposed, 0.0f);
    for (int64_t first = 0; first < head.value_stride; first += kTransposed) {
        const int64_t count = std::clamp<int64_t>(s.keys - first, 0, kTransposed);
        vectors.transpose(v + first * width, width, count, s.dim, block, kTransposed);
        const int64_t padded = std::min(kTransposed, head.value_stride - first);
        for (int64_t d = 0; d < rows; ++d)
            tiles.convert_row(block + d * kTransposed, Element::f32, count, padded,
                              head.values + (d * head.value_stride + first) * element);
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

/// Fills the lanes of a panel from `lanes` to `end` with zeros.
void clear_lanes(uint8_t * panel, int64_t lanes, int64_t end) {
    std::memset(panel + lanes * kTileColumns * 4, 0, static_cast<size_t>((end - lanes) * kTileColumns * 4));
}

struct Work {
    uint8_t * query_panel;  // [dim][64]
    uint8_t * score_panel;  // [kKeyBlock][64]
    float * scores;         // [kKeyBlock and a tile][64]
    float * sums;           // [dim rounded up to tiles][64]
};

void attend(const TileSet & tiles, const VectorSet & vectors, const AttentionShape & s, const Head & head, const float * q,
            int queries, const Work & work, float * out) {
    const int64_t element = tiles.element_bytes(), dims = round_up(s.dim, tiles.rows), width = s.heads * s.dim;
    const float scale = 1.0f / std::sqrt(static_cast<float>(s.dim));
    float highest[kTileColumns], total[kTileColumns], correction[kTileColumns];
    for (int i = 0; i < kTileColumns; ++i) highest[i] = kNoScore, total[i] = 0.0f;
    std::fill_n(work.sums, dims * kTileColumns, 0.0f);
    tiles.pack_tokens(q, width, queries, s.dim, work.query_panel);
    clear_lanes(work.query_panel, tiles.lanes(s.dim), tiles.lanes(head.key_stride));

    for (int64_t first = 0; first < s.keys; first += kKeyBlock) {
        const int64_t count = std::min(kKeyBlock, s.keys - first);
        const int64_t stride = head.key_stride * element;
        multiply_rows(tiles, count, stride, tiles.lanes(head.key_stride), head.keys + first * stride, work.query_panel, false,
                      work.scores);
        tiles.softmax(work.scores, count, scale, highest, total, correction, work.score_panel);
        if (first > 0) tiles.scale_columns(work.sums, dims, correction);
        const int64_t lanes = tiles.lanes(round_up(count, tiles.depth));
        clear_lanes(work.score_panel, tiles.lanes(count), lanes);
        multiply_rows(tiles, s.dim, head.value_stride * element, lanes, head.values + first * element, work.score_panel, true,
                      work.sums);
    }
    for (int i = 0; i < kTileColumns; ++i)
        total[i] = highest[i] == kNoScore ? std::numeric_limits<float>::quiet_NaN() : 1.0f / total[i];
    tiles.scale_columns(work.sums, dims, total);
    vectors.transpose(work.sums, kTileColumns, s.dim, queries, out, width);
}

/// Bytes of one thread's work on 64 queries: the floats, then the two panels.
struct WorkBytes {
    int64_t floats, queries, scores;
    WorkBytes(const TileSet & tiles, const AttentionShape & s)
        : floats((kKeyBlock + tiles.rows + round_up(s.dim, tiles.rows)) * kTileColumns * 4),
          queries(round_up(s.dim, tiles.depth) * kTileColumns * tiles.element_bytes()),
          scores(kKeyBlock * kTileColumns * tiles.element_bytes()) {}
    int64_t total() const { return floats + queries + scores; }
};

}  // namespace

int64_t attention_scratch(const TileSet & tiles, const AttentionShape & s) {
    return Head::bytes(tiles, s) + round_up(s.dim, tiles.rows) * kTransposed * 4 + WorkBytes(tiles, s).total();
}

void attention(const TileSet & tiles, const AttentionShape & s, const float * q, const float * k, const float * v, float * out,
               Share share) {
    const int64_t width = s.heads * s.dim;
    const int64_t panels = (s.queries + kTileColumns - 1) / kTileColumns, pairs = s.batch * s.heads;

    // Each thread gets whole heads if there are enough; otherwise the queries of a head are divided, and each thread converts the
    // head's keys.
    const int64_t splits = std::clamp<int64_t>((2 * share.threads + pairs - 1) / pairs, 1, std::max<int64_t>(panels, 1));
    const int64_t per_split = (panels + splits - 1) / splits;

    uint8_t * converted = static_cast<uint8_t *>(scratch(Scratch::attention_head, static_cast<size_t>(Head::bytes(tiles, s))));
    const WorkBytes bytes(tiles, s);
    uint8_t * memory = static_cast<uint8_t *>(scratch(Scratch::attention_work, static_cast<size_t>(bytes.total())));
    Work work;
    work.scores = reinterpret_cast<float *>(memory);
    work.sums = work.scores + (kKeyBlock + tiles.rows) * kTileColumns;
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
        if (held != pair) head = convert_head(tiles, vectors, s, k + keys, v + keys, converted);
        held = pair;
        for (int64_t p = first; p < last; ++p) {
            const int64_t t = p * kTileColumns;
            const int64_t at = (b * s.queries + t) * width + h * s.dim;
            attend(tiles, vectors, s, head, q + at, static_cast<int>(std::min<int64_t>(kTileColumns, s.queries - t)), work,
                   out + at);
        }
    }
}

}  // namespace latent::kernels
