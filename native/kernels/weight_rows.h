#pragma once

#include <algorithm>

#include "kernels/matmul.h"
#include "kernels/scratch.h"

namespace latent::kernels {

/// Blocks of six weight rows in the tile set's element type: the stored rows themselves where they already are, otherwise
/// converted into this thread's scratch. Rows past the end repeat the last one; their results are thrown away.
class WeightRows {
public:
    WeightRows(const TileSet & tiles, const Matrix & w) : tiles_(tiles), w_(w) {
        padded_ = tiles.bf16 ? (w.k + 1) / 2 * 2 : w.k;
        const Element own = tiles.bf16 ? Element::bf16 : Element::f32;
        element_bytes_ = tiles.bf16 ? 2 : 4;
        direct_ = w.type == own && padded_ == w.k && w.row_bytes % element_bytes_ == 0;
    }

    int64_t padded_k() const { return padded_; }
    int64_t stride() const { return direct_ ? w_.row_bytes / element_bytes_ : padded_; }

    const void * block(int64_t row) const {
        const uint8_t * base = static_cast<const uint8_t *>(w_.data);
        if (direct_ && row + kTileRows <= w_.rows) return base + row * w_.row_bytes;
        // A short last block of directly used rows is copied with the stride of the whole ones.
        uint8_t * out = static_cast<uint8_t *>(scratch(1, static_cast<size_t>(kTileRows * stride() * element_bytes_)));
        for (int r = 0; r < kTileRows; ++r) {
            const void * source = base + std::min(row + r, w_.rows - 1) * w_.row_bytes;
            Element type = w_.type;
            if (type == Element::other) {
                float * full = static_cast<float *>(scratch(2, static_cast<size_t>(w_.k) * sizeof(float)));
                w_.to_float(source, full, w_.k);
                source = full;
                type = Element::f32;
            }
            tiles_.convert_row(source, type, w_.k, padded_, out + r * stride() * element_bytes_);
        }
        return out;
    }

private:
    const TileSet & tiles_;
    const Matrix & w_;
    int64_t padded_ = 0, element_bytes_ = 4;
    bool direct_ = false;
};

/// How the 64-column panels and the weight rows of one product are dealt out: tasks of `group` panels times a range of rows.
struct Schedule {
    int64_t panels = 0, group = 1, groups = 0;
    int64_t row_chunks = 1, chunk_rows = 0;

    Schedule(int64_t columns, int64_t rows, int64_t panel_bytes, int threads) {
        panels = (columns + kTileColumns - 1) / kTileColumns;
        // Panels of one task share each block of converted weight rows and should stay in the second-level cache.
        constexpr int64_t kCache = 768 << 10;
        group = std::clamp<int64_t>(kCache / std::max<int64_t>(panel_bytes, 1), 1, 8);
        while (group > 1 && (panels + group - 1) / group < 2 * threads) --group;
        groups = (panels + group - 1) / group;
        const int64_t blocks = (rows + kTileRows - 1) / kTileRows;
        if (threads > 1 && groups < 2 * threads) row_chunks = std::min(blocks, (2 * threads + groups - 1) / groups);
        chunk_rows = (blocks + row_chunks - 1) / row_chunks * kTileRows;
    }

    int64_t tasks() const { return groups * row_chunks; }
};

}  // namespace latent::kernels
