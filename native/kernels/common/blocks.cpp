#include "kernels/common/blocks.h"

#include <algorithm>
#include <cstring>

#include "kernels/common/rows.h"
#include "kernels/common/scratch.h"

namespace latent::kernels {
namespace {

constexpr int64_t kTokens = 384;  // of a task: enough to make packing a panel cheap

/// One panel of 64 rows of a block, applied to some tokens.
class BlockPanel {
public:
    BlockPanel(const TileSet & tiles, const VectorSet & vectors, const BlockShape & shape, const Matrix & w, const float * bias)
        : tiles_(tiles), vectors_(vectors), s_(shape), w_(w), bias_(bias), lanes_(tiles.lanes(shape.order.run())) {
        row_bytes_ = RowFormat{tiles.bf16 ? Form::bf16 : Form::f32, 1, shape.channels}.row_bytes();
    }

    void prepare(int64_t block, int64_t panel) {
        block_ = block, column_ = panel * kTileColumns;
        const int64_t piece_bytes = lanes_ * kTileColumns * 4;
        packed_ = static_cast<uint8_t *>(scratch(Scratch::panels, static_cast<size_t>(s_.order.pieces() * piece_bytes)));
        for (int64_t piece = 0; piece < s_.order.pieces(); ++piece) {
            PanelPart part;
            part.lanes = lanes_;
            for (part.column = 0; part.column < kTileColumns; part.column += 16) {
                tiles_.pack_weights(weight_rows(piece, column_ + part.column), s_.order.run(), s_.order.run(), 1, 0, 1, part,
                                    packed_ + piece * piece_bytes);
            }
        }
    }

    void apply(int64_t first, int64_t last, const float * x, const uint8_t * rows, float * out) const {
        const int count = tiles_.rows;
        float * sums = static_cast<float *>(scratch(Scratch::sums, static_cast<size_t>(count) * kTileColumns * sizeof(float)));
        const int columns = static_cast<int>(std::min<int64_t>(kTileColumns, s_.order.size - column_));
        const uint8_t * start = rows + s_.order.position(block_, 0) * tiles_.element_bytes();
        const void * at[2 * kMostTileRows];
        for (int64_t token = first; token < last; token += count) {
            for (int64_t piece = 0; piece < s_.order.pieces(); ++piece) {
                for (int64_t r = 0; r < count; ++r) {
                    const int64_t own = std::min(token + r, last - 1);  // those past the end are not used
                    at[piece * count + r] = start + own * row_bytes_ + piece * s_.order.distance * tiles_.element_bytes();
                }
            }
            tiles_.multiply(s_.order.pieces(), lanes_, at, packed_, columns, false, sums);
            finish(token, std::min<int64_t>(count, last - token), columns, sums, x, out);
        }
    }

private:
    /// 16 rows of the block's matrix, the columns of one piece, in the set's element type; zeros past the end.
    const void * weight_rows(int64_t piece, int64_t row) const {
        const int64_t run = s_.order.run(), element = tiles_.element_bytes();
        uint8_t * out = static_cast<uint8_t *>(scratch(Scratch::weight_rows, static_cast<size_t>(16 * run * element)));
        const int64_t base = w_.rows == s_.order.size ? 0 : block_ * s_.order.size;  // one block for all
        for (int64_t r = 0; r < 16; ++r) {
            uint8_t * target = out + r * run * element;
            if (row + r >= s_.order.size) {
                std::memset(target, 0, static_cast<size_t>(run * element));
                continue;
            }
            const uint8_t * source =
                static_cast<const uint8_t *>(w_.data) + (base + row + r) * w_.row_bytes + w_.offset(piece * run);
            tiles_.convert_row(source, w_.type, run, run, target);
        }
        return out;
    }

    /// Adds the tokens themselves; the columns of a tile lie in as many places as they belong to runs.
    void finish(int64_t token, int64_t count, int columns, const float * sums, const float * x, float * out) const {
        const int64_t run = s_.order.run();
        for (int64_t done = 0; done < columns;) {
            const int64_t row = column_ + done, part = std::min<int64_t>(columns - done, run - row % run);
            const int64_t channel = s_.order.position(block_, row), at = token * s_.channels + channel;
            Finishing f;
            f.rows = count, f.columns = part, f.stride = kTileColumns, f.sums = sums + done;
            f.residual = x + at, f.residual_stride = s_.channels;
            f.bias = bias_ ? bias_ + channel : nullptr;
            f.out = out + at, f.out_stride = s_.channels;
            vectors_.finish(f);
            done += part;
        }
    }

    const TileSet & tiles_;
    const VectorSet & vectors_;
    const BlockShape & s_;
    const Matrix & w_;
    const float * bias_;
    int64_t lanes_, row_bytes_;
    int64_t block_ = 0, column_ = 0;
    uint8_t * packed_ = nullptr;
};

}  // namespace

void block_product(const TileSet & tiles, const VectorSet & vectors, const BlockShape & s, const float * x, const void * rows,
                   const Matrix & w, const float * bias, float * out, Share share) {
    const TileUse use(tiles);
    BlockPanel panel(tiles, vectors, s, w, bias);
    const int64_t panels = (s.order.size + kTileColumns - 1) / kTileColumns, all = s.blocks() * panels;
    const int64_t most = std::max<int64_t>((s.tokens + kTokens - 1) / kTokens, 1);
    const int64_t chunks = std::clamp<int64_t>((2 * share.threads + all - 1) / all, 1, most);
    const int64_t tasks = all * chunks;
    int64_t prepared = -1;
    for (int64_t task = tasks * share.thread / share.threads; task < tasks * (share.thread + 1) / share.threads; ++task) {
        const int64_t own = task / chunks, chunk = task % chunks;
        if (own != prepared) panel.prepare(own / panels, own % panels);
        prepared = own;
        panel.apply(s.tokens * chunk / chunks, s.tokens * (chunk + 1) / chunks, x, static_cast<const uint8_t *>(rows), out);
    }
}

const TileSet & block_tiles(Arithmetic arithmetic, int64_t run) {
    const TileSet & tiles = tile_set(arithmetic);
    return tiles.bf16 && run % tiles.depth != 0 ? tile_set(Arithmetic::f32) : tiles;
}

void mix(const MixShape & s, const float * x, const float * w, const float * added, float * out, Share share) {
    const int64_t first = s.tokens * share.thread / share.threads, last = s.tokens * (share.thread + 1) / share.threads;
    for (int64_t token = first; token < last; ++token) {
        const float * from = x + token * s.columns * s.width;
        for (int64_t i = 0; i < s.rows; ++i) {
            const int64_t at = (token * s.rows + i) * s.width;
            float * to = out + at;
            if (added) {
                std::copy_n(added + at, s.width, to);
            } else {
                std::fill_n(to, s.width, 0.0f);
            }
            for (int64_t j = 0; j < s.columns; ++j) {
                const float number = w[i * s.columns + j], *group = from + j * s.width;
                for (int64_t k = 0; k < s.width; ++k) to[k] += number * group[k];
            }
        }
    }
}

int64_t block_scratch(const TileSet & tiles, const BlockShape & s) {
    const int64_t panel = s.order.pieces() * tiles.lanes(s.order.run()) * kTileColumns * 4;
    return panel + 16 * s.order.run() * tiles.element_bytes() + tiles.rows * kTileColumns * 4;
}

}  // namespace latent::kernels
