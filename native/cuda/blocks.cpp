#include "cuda/blocks.h"

#include "cuda/row_items.h"
#include "cuda/swizzle.h"

namespace latent::cuda {
namespace {

constexpr int kSide = 64;      // rows and columns of a tile, and elements of a step of its sums
constexpr int kThreads = 128;  // four warps of 16 rows
constexpr int kPerMultiprocessor = 5;
constexpr int kStageSize = 2 * kSide * kSide, kResultStride = kSide + 8;
constexpr size_t kBlockShared = 2 * kStageSize * 2;  // two stages of 16-bit values; the result is smaller
static_assert(kBlockShared >= kSide * kResultStride * sizeof(float), "the result fits");

/// The columns of a tile: slots of `width`, each for a block, or for a part of one if blocks are larger.
template <int width>
struct Slots {
    static constexpr int count = kSide / width;
    int first_block, first;  // of the tile; `first` output in the block

    LATENT_DEVICE explicit Slots(const BlockArgs & p, int tile) {
        const int parts = width < kSide ? 1 : (p.size + kSide - 1) / kSide;
        first_block = width < kSide ? tile * count : tile / parts;
        first = width < kSide ? 0 : tile % parts * kSide;
    }
    LATENT_DEVICE int block(int column) const { return first_block + column / width; }
    LATENT_DEVICE int index(int column) const { return first + column % width; }
};

/// Loads a step of the sums: 64 rows of x by the channels of the slots, and the weights of the slots' outputs. `eights`: eight
/// channels of a block follow each other in memory, aligned.
template <typename T, int width, bool eights>
LATENT_DEVICE void fetch(const BlockArgs & p, const Slots<width> & slots, int blocks, int m0, int step, T * a, T * b) {
    for (int at = threadIdx.x; at < kSide * 8; at += kThreads) {
        const int row = at / 8, column = at % 8 * 8, m = m0 + row;
        const int block = slots.block(column), k = step * width + column % width;
        T * const to = a + swizzled(row, at % 8);
        const bool valid = m < p.m && block < blocks && k < p.size;
        const T * const x = static_cast<const T *>(p.x) + static_cast<size_t>(valid ? m : 0) * p.stride;
        if constexpr (eights) {
            cp_async16(to, x + (valid ? p.position(block, k) : 0), valid);
        } else {
            for (int i = 0; i < 8; ++i) to[i] = valid && k + i < p.size ? x[p.position(block, k + i)] : zero<T>();
        }
    }
    for (int at = threadIdx.x; at < kSide * (width / 8); at += kThreads) {
        const int row = at / (width / 8), eight = at % (width / 8), k = step * width + eight * 8;
        const int block = slots.block(row), o = slots.index(row);
        const bool valid = block < blocks && o < p.size && k < p.w.in;
        const size_t from = valid ? (p.weight_row(block) + o) * p.w.in + k : 0;
        cp_async16(b + swizzled(row, eight), static_cast<const T *>(p.w.data) + from, valid);
    }
    cp_async_commit();
}

/// The sums of 16 rows of a warp. `left`: elements of the step, `outputs` of the tile that a block has.
template <typename T, int width>
LATENT_DEVICE void multiply(const T * a, const T * b, int left, int outputs, float (*sums)[4]) {
    const int lane = threadIdx.x % 32, warp_m = threadIdx.x / 32 * 16;
    LATENT_UNROLL
    for (int j = 0; j < kSide / 16; ++j) {
        if (j * 16 % width >= outputs) continue;
        LATENT_UNROLL
        for (int k = 0; k < width; k += 16) {
            if (k >= left) continue;
            uint32_t fa[4], fb[4];
            ldmatrix_x4(fa, a + swizzled(warp_m + lane % 16, (j * 16 / width * width + k) / 8 + lane / 16));
            ldmatrix_x4(fb, b + swizzled(j * 16 + lane / 16 * 8 + lane % 8, k / 8 + lane / 8 % 2));
            mma(T{}, sums[2 * j], fa, fb);
            mma(T{}, sums[2 * j + 1], fa, fb + 2);
        }
    }
}

/// Writes x + sums + bias of eight outputs of a row.
template <typename T, bool eights>
LATENT_DEVICE void finish(const BlockArgs & p, int m, int block, int o, const float * sums) {
    const T * const x = static_cast<const T *>(p.x) + static_cast<size_t>(m) * p.stride;
    T * const y = static_cast<T *>(p.y) + static_cast<size_t>(m) * p.stride;
    if constexpr (eights) {
        const int at = p.position(block, o);
        float v[8], more[8];
        load8(x + at, more);
        LATENT_UNROLL
        for (int i = 0; i < 8; ++i) v[i] = sums[i] + more[i];
        if (p.bias) {
            load8(p.bias + at, more);
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) v[i] += more[i];
        }
        store8(y + at, v);
    } else {
        for (int i = 0; i < 8 && o + i < p.size; ++i) {
            const int at = p.position(block, o + i);
            const float sum = sums[i] + to_float(x[at]);
            from_float(p.bias ? sum + p.bias[at] : sum, y[at]);
        }
    }
}

template <typename T, int width, bool eights>
__global__ void __launch_bounds__(kThreads, kPerMultiprocessor) blocks_kernel(BlockArgs p) {
    LATENT_SHARED(shared);
    T * const stages = reinterpret_cast<T *>(shared);
    const int m0 = static_cast<int>(blockIdx.x) * kSide, blocks = p.channels / p.size;
    const Slots<width> slots(p, static_cast<int>(blockIdx.y));
    const int steps = (p.size + width - 1) / width, outputs = p.size - slots.first;
    float sums[kSide / 8][4] = {};
    fetch<T, width, eights>(p, slots, blocks, m0, 0, stages, stages + kSide * kSide);
    for (int step = 0; step < steps; ++step) {
        T * const a = stages + step % 2 * kStageSize;
        T * const next = stages + (step + 1) % 2 * kStageSize;
        cp_async_wait<0>();
        sync_threads();
        if (step + 1 < steps) fetch<T, width, eights>(p, slots, blocks, m0, step + 1, next, next + kSide * kSide);
        multiply<T, width>(a, a + kSide * kSide, p.size - step * width, outputs, sums);
    }
    sync_threads();

    float * const result = reinterpret_cast<float *>(shared);
    const int lane = threadIdx.x % 32, warp_m = threadIdx.x / 32 * 16;
    LATENT_UNROLL
    for (int j = 0; j < kSide / 8; ++j) {
        LATENT_UNROLL
        for (int half = 0; half < 2; ++half) {
            float * const row = result + (warp_m + half * 8 + lane / 4) * kResultStride;
            store_shared(row + result_column(j * 8 + lane % 4 * 2), sums[j][half * 2], sums[j][half * 2 + 1]);
        }
    }
    sync_threads();
    for (int at = threadIdx.x; at < kSide * 8; at += kThreads) {
        const int row = at / 8, column = at % 8 * 8, m = m0 + row, block = slots.block(column), o = slots.index(column);
        if (m >= p.m || block >= blocks || o >= p.size) continue;
        float v[8];
        load_result(result + row * kResultStride, column, v);
        finish<T, eights>(p, m, block, o, v);
    }
    // The padding of y; without any if blocks are in eights.
    if (eights || blockIdx.y + 1 < gridDim.y) return;
    const int padding = p.stride - p.channels;
    for (int at = threadIdx.x; at < kSide * padding; at += kThreads) {
        const int m = m0 + at / padding;
        if (m < p.m) static_cast<T *>(p.y)[static_cast<size_t>(m) * p.stride + p.channels + at % padding] = zero<T>();
    }
}

template <typename T, int width>
void launch_blocks(const BlockArgs & p, cudaStream_t stream) {
    const dim3 grid(static_cast<unsigned>((p.m + kSide - 1) / kSide), static_cast<unsigned>(block_tiles(p.channels, p.size)));
    if ((p.distance > 0 ? p.size / 2 : p.size) % 8 == 0)
        launch(blocks_kernel<T, width, true>, grid, kThreads, kBlockShared, stream, p);
    else
        launch(blocks_kernel<T, width, false>, grid, kThreads, kBlockShared, stream, p);
}

/// One number of the result per item.
template <typename T>
__global__ void __launch_bounds__(kRowThreads) vector_blocks_kernel(BlockArgs p) {
    for (size_t item = first_item(); item < static_cast<size_t>(p.m) * p.stride; item += item_step()) {
        const size_t row = item / p.stride * p.stride;
        const int number = static_cast<int>(item % p.stride);
        float * const y = static_cast<float *>(p.y) + row;
        if (number >= p.channels) {
            y[number] = 0;
            continue;
        }
        const float * const x = static_cast<const float *>(p.x) + row;
        const int block = number / p.size, o = number % p.size, at = p.position(block, o);
        const T * const w = static_cast<const T *>(p.w.data) + (p.weight_row(block) + o) * p.w.in;
        float sum = 0;
        for (int k = 0; k < p.size; ++k) sum += to_float(w[k]) * x[p.position(block, k)];
        sum += x[at];
        y[at] = p.bias ? sum + p.bias[at] : sum;
    }
}

/// Columns of a slot.
int slot_width(int64_t size) {
    return size <= 16 ? 16 : size <= 32 ? 32 : kSide;
}

}  // namespace

int64_t block_tiles(int64_t channels, int64_t size) {
    const int64_t blocks = channels / size, each = kSide / slot_width(size);
    return each > 1 ? (blocks + each - 1) / each : blocks * ((size + kSide - 1) / kSide);
}

template <typename T>
void add_blocks(const BlockArgs & p, cudaStream_t stream) {
    switch (slot_width(p.size)) {
        case 16: return launch_blocks<T, 16>(p, stream);
        case 32: return launch_blocks<T, 32>(p, stream);
        default: return launch_blocks<T, kSide>(p, stream);
    }
}
template <typename T>
void add_vector_blocks(const BlockArgs & p, cudaStream_t stream) {
    launch(vector_blocks_kernel<T>, dim3(row_blocks(static_cast<size_t>(p.m) * p.stride)), kRowThreads, 0, stream, p);
}

template void add_blocks<bf16>(const BlockArgs &, cudaStream_t);
template void add_blocks<f16>(const BlockArgs &, cudaStream_t);
template void add_vector_blocks<bf16>(const BlockArgs &, cudaStream_t);
template void add_vector_blocks<f16>(const BlockArgs &, cudaStream_t);

}  // namespace latent::cuda
