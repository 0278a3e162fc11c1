#include <cstring>

#include "kernels/matmul.h"
#include "kernels/weight_rows.h"

namespace latent::kernels {
namespace {

/// A run of columns of a panel that lie in one row of the output.
struct Segment {
    int64_t image, y, x;  // where it starts in the output
    int column, count;
};

int find_segments(const ConvShape & s, int64_t first, int64_t columns, Segment * segments) {
    int count = 0;
    for (int64_t column = 0; column < columns;) {
        const int64_t pixel = first + column, in_row = pixel % s.out_width;
        const int64_t run = std::min(columns - column, s.out_width - in_row);
        segments[count++] = {pixel / (s.out_width * s.out_height), pixel / s.out_width % s.out_height, in_row,
                             static_cast<int>(column), static_cast<int>(run)};
        column += run;
    }
    return count;
}

/// One row of the unfolded input: the input value under tap (ky, kx) for each column of the segment, zero outside the picture.
void gather(const ConvShape & s, const float * channel, const Segment & segment, int ky, int kx, float * out) {
    const int scale = s.upsample ? 2 : 1;
    const int64_t height = s.crop_height ? s.crop_height : s.height * scale;
    const int64_t width = s.crop_width ? s.crop_width : s.width * scale;
    const int64_t y = segment.y * s.stride + ky - s.pad_top;
    if (y < 0 || y >= height) {
        std::memset(out, 0, static_cast<size_t>(segment.count) * sizeof(float));
        return;
    }
    const float * row = channel + (s.upsample ? y / 2 : y) * s.width;
    const int64_t x0 = segment.x * s.stride + kx - s.pad_left;
    if (s.stride == 1 && !s.upsample) {
        const int64_t begin = std::clamp<int64_t>(-x0, 0, segment.count),
                      end = std::clamp<int64_t>(width - x0, begin, segment.count);
        for (int64_t i = 0; i < begin; ++i) out[i] = 0.0f;
        std::memcpy(out + begin, row + x0 + begin, static_cast<size_t>(end - begin) * sizeof(float));
        for (int64_t i = end; i < segment.count; ++i) out[i] = 0.0f;
        return;
    }
    for (int i = 0; i < segment.count; ++i) {
        const int64_t x = x0 + static_cast<int64_t>(i) * s.stride;
        out[i] = x < 0 || x >= width ? 0.0f : row[s.upsample ? x / 2 : x];
    }
}

/// Packs the unfolded input of up to 64 pixels, rows ordered as the weights are: channel, then tap.
void pack_panel(const TileSet & tiles, const ConvShape & s, const float * x, int64_t first, int64_t columns, void * panel) {
    constexpr int kRows = 32;  // staged floats stay in the first-level cache
    float * staged = static_cast<float *>(scratch(3, static_cast<size_t>(kRows * kTileColumns) * sizeof(float)));
    Segment segments[kTileColumns];
    const int count = find_segments(s, first, columns, segments);
    const int taps = s.kernel * s.kernel;
    const int64_t k = s.in * taps, plane = s.height * s.width;
    int filled = 0;
    int64_t base = 0;
    for (int64_t channel = 0; channel < s.in; ++channel) {
        for (int tap = 0; tap < taps; ++tap) {
            float * row = staged + filled * kTileColumns;
            for (int i = 0; i < count; ++i) {
                const Segment & segment = segments[i];
                gather(s, x + (segment.image * s.in + channel) * plane, segment, tap / s.kernel, tap % s.kernel,
                       row + segment.column);
            }
            for (int64_t i = columns; i < kTileColumns; ++i) row[i] = 0.0f;
            if (++filled == kRows || base + filled == k) {
                tiles.pack_rows(staged, base, filled, panel);
                base += filled;
                filled = 0;
            }
        }
    }
}

void write_tile(const ConvShape & s, const ConvEpilogue & e, const float * c, int64_t first_row, int64_t first, int64_t columns,
                float * out) {
    Segment segments[kTileColumns];
    const int count = find_segments(s, first, columns, segments);
    const int64_t plane = s.out_height * s.out_width;
    for (int r = 0; r < kTileRows && first_row + r < s.out; ++r) {
        const int64_t row = first_row + r;
        for (int i = 0; i < count; ++i) {
            const Segment & segment = segments[i];
            const int64_t at = (segment.image * s.out + row) * plane + segment.y * s.out_width + segment.x;
            float add = e.bias ? e.bias[row] : 0.0f;
            if (e.channel_add) add += e.channel_add[segment.image * s.out + row];
            const float * sums = c + r * kTileColumns + segment.column;
            if (e.residual) {
                for (int j = 0; j < segment.count; ++j) out[at + j] = sums[j] + add + e.residual[at + j];
            } else {
                for (int j = 0; j < segment.count; ++j) out[at + j] = sums[j] + add;
            }
        }
    }
}

}  // namespace

void conv2d(const TileSet & tiles, const ConvShape & shape, const float * x, const Matrix & w, const ConvEpilogue & epilogue,
            float * out, Part part) {
    const WeightRows weights(tiles, w);
    const int64_t columns = shape.n * shape.out_height * shape.out_width;
    const int64_t panel_bytes = weights.padded_k() * kTileColumns * (tiles.bf16 ? 2 : 4);
    const Schedule plan(columns, shape.out, panel_bytes, part.threads);
    uint8_t * panels = static_cast<uint8_t *>(scratch(0, static_cast<size_t>(plan.group * panel_bytes)));
    float c[kTileRows * kTileColumns];

    for (int64_t task = part.thread; task < plan.tasks(); task += part.threads) {
        const int64_t first_panel = task / plan.row_chunks * plan.group,
                      last_panel = std::min(first_panel + plan.group, plan.panels);
        for (int64_t p = first_panel; p < last_panel; ++p) {
            pack_panel(tiles, shape, x, p * kTileColumns, std::min<int64_t>(kTileColumns, columns - p * kTileColumns),
                       panels + (p - first_panel) * panel_bytes);
        }
        const int64_t first_row = task % plan.row_chunks * plan.chunk_rows,
                      last_row = std::min(first_row + plan.chunk_rows, shape.out);
        for (int64_t row = first_row; row < last_row; row += kTileRows) {
            const void * block = weights.block(row);
            for (int64_t p = first_panel; p < last_panel; ++p) {
                tiles.multiply(weights.padded_k(), block, weights.stride(), panels + (p - first_panel) * panel_bytes, c);
                write_tile(shape, epilogue, c, row, p * kTileColumns, std::min<int64_t>(kTileColumns, columns - p * kTileColumns),
                           out);
            }
        }
    }
}

}  // namespace latent::kernels
