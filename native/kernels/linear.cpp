#include <cmath>

#include "kernels/matmul.h"
#include "kernels/weight_rows.h"

namespace latent::kernels {
namespace {

float gate(float x, Gate kind) {
    switch (kind) {
        case Gate::silu: return x / (1.0f + std::exp(-x));
        case Gate::gelu: return 0.5f * x * (1.0f + std::erf(x * 0.70710678f));
        case Gate::quick_gelu: return x / (1.0f + std::exp(-1.702f * x));
        case Gate::none: break;
    }
    return x;
}

/// The tile is [row][token], the output [token][row]: six neighbouring floats per token.
void write_tile(const LinearEpilogue & e, const float * c, int64_t first_row, int64_t rows, int64_t first_token, int64_t tokens,
                float * out) {
    const int count = static_cast<int>(std::min<int64_t>(kTileRows, rows - first_row));
    float bias[kTileRows] = {};
    if (e.bias) std::copy_n(e.bias + first_row, count, bias);
    for (int64_t t = 0; t < tokens; ++t) {
        const int64_t at = (first_token + t) * rows + first_row;
        for (int r = 0; r < count; ++r) {
            float value = c[r * kTileColumns + t] + bias[r];
            if (e.activation != Gate::none) value = gate(value, e.activation);
            out[at + r] = e.residual ? value + e.residual[at + r] : value;
        }
    }
}

}  // namespace

void linear(const TileSet & tiles, const float * x, int64_t tokens, int64_t x_stride, const Matrix & w,
            const LinearEpilogue & epilogue, float * out, Part part) {
    const WeightRows weights(tiles, w);
    const int64_t panel_bytes = weights.padded_k() * kTileColumns * (tiles.bf16 ? 2 : 4);
    const Schedule plan(tokens, w.rows, panel_bytes, part.threads);
    uint8_t * panels = static_cast<uint8_t *>(scratch(0, static_cast<size_t>(plan.group * panel_bytes)));
    float c[kTileRows * kTileColumns];

    for (int64_t task = part.thread; task < plan.tasks(); task += part.threads) {
        const int64_t first_panel = task / plan.row_chunks * plan.group,
                      last_panel = std::min(first_panel + plan.group, plan.panels);
        for (int64_t p = first_panel; p < last_panel; ++p) {
            const int64_t first = p * kTileColumns;
            tiles.pack_tokens(x + first * x_stride, x_stride, static_cast<int>(std::min<int64_t>(kTileColumns, tokens - first)),
                              w.k, panels + (p - first_panel) * panel_bytes);
        }
        const int64_t first_row = task % plan.row_chunks * plan.chunk_rows,
                      last_row = std::min(first_row + plan.chunk_rows, w.rows);
        for (int64_t row = first_row; row < last_row; row += kTileRows) {
            const void * block = weights.block(row);
            for (int64_t p = first_panel; p < last_panel; ++p) {
                const int64_t first = p * kTileColumns;
                tiles.multiply(weights.padded_k(), block, weights.stride(), panels + (p - first_panel) * panel_bytes, c);
                write_tile(epilogue, c, row, w.rows, first, std::min<int64_t>(kTileColumns, tokens - first), out);
            }
        }
    }
}

}  // namespace latent::kernels
