#include "kernels/common/int8.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/cpu.h"
#include "kernels/common/choice.h"
#include "kernels/common/int8_block.h"
#include "kernels/portable/simd_portable.h"

namespace latent::kernels {
namespace {

struct Int8Portable {
    struct Vector {
        int32_t v[4];
    };
    static constexpr int kLanes = 4;

    static Vector zero() { return {{0, 0, 0, 0}}; }
    static Vector set1(int32_t x) { return {{x, x, x, x}}; }
    static Vector load(const int8_t * p) {
        Vector out;
        std::memcpy(out.v, p, sizeof(out.v));
        return out;
    }
    static Vector dot(Vector sum, Vector u8, Vector s8) {
        uint8_t a[16];
        int8_t b[16];
        std::memcpy(a, u8.v, sizeof(a));
        std::memcpy(b, s8.v, sizeof(b));
        for (int i = 0; i < 16; ++i) sum.v[i / 4] += a[i] * b[i];
        return sum;
    }
    static Lanes4 to_float(Vector x) {
        return Lanes4::each([&](int i) { return static_cast<float>(x.v[i]); });
    }
};

Int8Scale quantise_portable(const float * x, int64_t count, int64_t padded, uint8_t * q) {
    float low = 0.0f, high = 0.0f;
    bool clean = true;
    for (int64_t i = 0; i < count; ++i) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
        clean = clean && x[i] == x[i];
    }
    const Int8Map map = int8_map(low, high, clean);
    std::memset(q, 0, static_cast<size_t>(padded));
    if (map.factor == 0.0f) return map.scale;
    for (int64_t i = 0; i < count; ++i)
        q[i] = static_cast<uint8_t>(std::clamp(std::nearbyint(x[i] * map.factor) + map.zero, 0.0f, 255.0f));
    return map.scale;
}

/// Rounds values of at most 127 to whole numbers, ties to even, in a form that compilers can vectorise.
inline int8_t rounded(float x) {
    const float shifted = x + 12582912.0f;  // 1.5 * 2^23: no bits remain for the fraction
    int32_t bits;
    std::memcpy(&bits, &shifted, sizeof(bits));
    return static_cast<int8_t>(bits);
}

/// Largest magnitude; NaN if a value is NaN or infinite.
float largest(const float * x, int64_t count) {
    constexpr int kChains = 8;
    float most[kChains] = {}, odd[kChains] = {};
    int64_t i = 0;
    for (; i + kChains <= count; i += kChains) {
        for (int j = 0; j < kChains; ++j) {
            const float size = std::fabs(x[i + j]);
            most[j] = size > most[j] ? size : most[j];
            odd[j] += size * 0.0f;
        }
    }
    for (; i < count; ++i) {
        most[0] = std::max(most[0], std::fabs(x[i]));
        odd[0] += x[i] * 0.0f;
    }
    float out = 0.0f;
    for (int j = 0; j < kChains; ++j) out = std::max(out, most[j]) + odd[j];
    return out;
}

}  // namespace

const Int8Set & int8_portable() {
    static const Int8Set set = [] {
        Int8Set s = {"portable", PanelOrder::lanes, multiply_int8<Int8Portable, Lanes4, 1>, quantise_portable};
        s.scores = int8_scores<Int8Portable, 1>();
        return s;
    }();
    return set;
}

int runnable_int8_sets(const Int8Set ** sets, int capacity) {
    int count = 0;
    const auto add = [&](const Int8Set & set) {
        if (count < capacity) sets[count++] = &set;
    };
    add(int8_portable());
#if defined(__x86_64__) || defined(_M_X64)
    const CpuFeatures & cpu = cpu_features();
    if (cpu.avx2 && cpu.fma) add(int8_avx2());
    if (cpu.avx2 && cpu.fma && cpu.avx_vnni) add(int8_avxvnni());
    if (cpu.avx512 && cpu.avx512_vnni) add(int8_avx512vnni());
#if defined(LATENT_AMX)
    if (cpu.avx512_vnni && cpu.avx512_bf16 && cpu.amx_int8) add(int8_amx());
#endif
#elif defined(__aarch64__) || defined(_M_ARM64)
    add(int8_neon());
#if defined(LATENT_NEONDOTPROD)
    if (cpu_features().dotprod) add(int8_neondotprod());
#endif
#if defined(LATENT_NEONI8MM)
    if (cpu_features().i8mm) add(int8_neoni8mm());
#endif
#endif
    return count;
}

namespace {

const Int8Set & choose() {
    const Int8Set * sets[8];
    int count = runnable_int8_sets(sets, 8);
    while (count > 1 && !kernels_allowed(sets[count - 1]->name)) --count;
    return *sets[count - 1];
}

}  // namespace

const Int8Set & int8_set() {
    static const Int8Set & set = choose();
    return set;
}

Int8Blocks::Int8Blocks(int64_t channels) : lanes((channels + 3) / 4) {
    count = std::max<int64_t>(1, (lanes + kMostLanes - 1) / kMostLanes);
    block_lanes = (lanes + count - 1) / count;
    count = (lanes + block_lanes - 1) / block_lanes;
}

int64_t Int8Matrix::panel_bytes() const {
    return taps * Int8Blocks(channels).lanes * kTileColumns * 4;
}

int64_t Int8Matrix::panel_stride() const {
    return panel_bytes() + (1 + taps * Int8Blocks(channels).count) * kTileColumns * static_cast<int64_t>(sizeof(float));
}

int64_t Int8Matrix::bytes(int64_t rows, int64_t channels, int taps) {
    const Int8Matrix matrix{nullptr, rows, channels, taps};
    return (rows + kTileColumns - 1) / kTileColumns * matrix.panel_stride();
}

const int8_t * Int8Matrix::panel(int64_t index) const {
    return reinterpret_cast<const int8_t *>(data + index * panel_stride());
}

const float * Int8Matrix::scales(int64_t index) const {
    return reinterpret_cast<const float *>(data + index * panel_stride() + panel_bytes());
}

const float * Int8Matrix::sums(int64_t index) const {
    return scales(index) + kTileColumns;
}

int64_t int8_panel_offset(PanelOrder order, const Int8Blocks & blocks, int64_t lane, int column) {
    if (order == PanelOrder::lanes) return (lane * kTileColumns + column) * 4;
    constexpr int64_t kColumns = 16;
    const int64_t block = lane / blocks.block_lanes, first = block * blocks.block_lanes, in_block = lane - first;
    const int64_t base = (column / kColumns * blocks.lanes + first) * kColumns * 4, at = column % kColumns;
    const bool paired = (in_block | 1) < blocks.lanes_of(block);
    return base + (paired ? (in_block / 2 * kColumns + at) * 8 + in_block % 2 * 4 : (in_block * kColumns + at) * 4);
}

namespace {

/// Rows [64][tap][channel] to PanelOrder::lanes, one cache line per row at a time: 16 lanes become 16 lines of the panel.
void lay_lanes(const int8_t * rows, int64_t row_bytes, uint8_t * panel) {
    const int64_t lanes = row_bytes / 4;
    for (int64_t first = 0; first < lanes; first += 16) {
        const int64_t last = std::min(first + 16, lanes);
        for (int column = 0; column < kTileColumns; ++column) {
            const int8_t * row = rows + column * row_bytes;
            for (int64_t lane = first; lane < last; ++lane)
                std::memcpy(panel + (lane * kTileColumns + column) * 4, row + lane * 4, 4);
        }
    }
}

/// The same rows to PanelOrder::pairs.
void lay_pairs(const int8_t * rows, int64_t row_bytes, int taps, const Int8Blocks & blocks, uint8_t * panel) {
    for (int tap = 0; tap < taps; ++tap, rows += blocks.row_bytes(), panel += blocks.row_bytes() * kTileColumns) {
        for (int64_t block = 0; block < blocks.count; ++block) {
            const int64_t first = block * blocks.block_lanes, last = first + blocks.lanes_of(block);
            for (int64_t lane = first; lane < last; lane += 2) {
                const int64_t bytes = lane + 1 < last ? 8 : 4;
                for (int column = 0; column < kTileColumns; column += 16) {
                    uint8_t * to = panel + int8_panel_offset(PanelOrder::pairs, blocks, lane, column);
                    for (int c = 0; c < 16; ++c)
                        std::memcpy(to + c * bytes, rows + (column + c) * row_bytes + lane * 4, static_cast<size_t>(bytes));
                }
            }
        }
    }
}

}  // namespace

void pack_int8_panel(PanelOrder order, const Int8Matrix & m, int64_t index, RowReader reader, void * user, uint8_t * data) {
    const Int8Blocks blocks(m.channels);
    const int64_t k = m.channels * m.taps, row_bytes = m.taps * blocks.row_bytes();
    std::vector<float> values(static_cast<size_t>(k));
    std::vector<int8_t> rows(static_cast<size_t>(kTileColumns * row_bytes));  // [64][tap][channel], zeros where padded
    uint8_t * panel = data + index * m.panel_stride();
    float * scales = reinterpret_cast<float *>(panel + m.panel_bytes());
    float * sums = scales + kTileColumns;
    std::fill_n(scales, (1 + m.taps * blocks.count) * kTileColumns, 0.0f);

    for (int column = 0; column < kTileColumns && index * kTileColumns + column < m.rows; ++column) {
        reader(user, index * kTileColumns + column, values.data());
        const float most = largest(values.data(), k);
        if (most < 1e-30f) continue;  // practically zero, and 127 / most would overflow
        scales[column] = most / 127.0f;
        if (!(most > 0.0f)) continue;  // NaN, so all outputs will be NaN
        const float factor = 127.0f / most;
        int8_t * row = rows.data() + column * row_bytes;
        for (int tap = 0; tap < m.taps; ++tap) {
            int8_t * out = row + tap * blocks.row_bytes();
            const float * in = values.data() + tap;
            for (int64_t c = 0; c < m.channels; ++c) out[c] = rounded(in[c * m.taps] * factor);
            for (int64_t b = 0; b < blocks.count; ++b) {
                const int64_t last = std::min((b + 1) * blocks.block_lanes * 4, blocks.row_bytes());
                int32_t sum = 0;
                for (int64_t c = b * blocks.block_lanes * 4; c < last; ++c) sum += out[c];
                sums[(tap * blocks.count + b) * kTileColumns + column] = static_cast<float>(sum);
            }
        }
    }
    if (order == PanelOrder::pairs) {
        lay_pairs(rows.data(), row_bytes, m.taps, blocks, panel);
    } else {
        lay_lanes(rows.data(), row_bytes, panel);
    }
}

}  // namespace latent::kernels
