#include "cuda/blocks.h"

#include <algorithm>

#include "check.h"
#include "stored_weights.h"

// Matrices of blocks, x + W x + bias, against float64.

using namespace cuda_test;
using namespace latent::cuda;

namespace {

struct BlockCase {
    const char * what;
    int rows, channels, size, distance;
    bool shared, bias;
};

const BlockCase kBlockCases[] = {
    {"blocks of 16", 70, 80, 16, 0, false, true},
    {"one block of 16 for all", 3, 96, 16, 0, true, false},
    {"blocks of 8", 65, 72, 8, 0, false, true},
    {"blocks of 4", 20, 36, 4, 0, false, true},
    {"blocks of 5", 66, 35, 5, 0, false, true},
    {"blocks of 1", 9, 11, 1, 0, false, false},
    {"blocks of 24", 64, 72, 24, 0, false, true},
    {"blocks of 32", 10, 160, 32, 0, false, false},
    {"blocks of 40", 130, 120, 40, 0, false, true},
    {"blocks of 33", 40, 99, 33, 0, false, true},
    {"blocks of 64", 64, 128, 64, 0, true, true},
    {"blocks of 80", 77, 320, 80, 0, false, true},
    {"blocks of 200", 33, 400, 200, 0, false, false},
    {"blocks of 77", 21, 154, 77, 0, false, true},
    {"one large block of 77", 21, 154, 77, 0, true, true},
    {"butterfly of 16, next", 70, 96, 16, 8, false, true},
    {"butterfly of 16, apart", 70, 128, 16, 32, false, true},
    {"butterfly of 32, apart", 9, 128, 32, 64, false, false},
    {"butterfly of 8", 30, 48, 8, 12, false, true},
    {"butterfly of 6", 30, 36, 6, 9, false, true},
    {"butterfly of 2", 12, 20, 2, 5, false, true},
    {"butterfly of 160", 65, 640, 160, 160, false, true},
    {"butterfly of 100", 65, 200, 100, 100, false, true},
};

enum class BlockMistake { none, no_identity, other_distance, other_block, transposed, other_bias };

/// The channel of an index of a block, by definition: pairs of runs, `distance` apart.
int place_of(const BlockCase & c, int block, int i) {
    if (c.distance == 0) return block * c.size + i;
    const int run = c.size / 2;
    int at = 0;
    for (int first = 0;; first += 2 * c.distance) {
        for (int from = first; from < first + c.distance; from += run, ++at) {
            if (at == block) return from + (i < run ? i : c.distance + i - run);
        }
    }
}

/// In units of what rounding may do. F: of x and y.
template <typename F, typename T>
double error_of_blocks(const BlockCase & c, unsigned seed, BlockMistake mistake = BlockMistake::none) {
    test_seed(seed);
    Numbers numbers(seed);
    const int blocks = c.channels / c.size, stored = c.shared ? 1 : blocks, stride = padded8(c.channels), n = c.size;
    const auto x = as<F>(numbers.list(static_cast<size_t>(c.rows) * c.channels));
    auto w = as<T>(numbers.list(static_cast<size_t>(stored) * n * n, 1.7f / std::sqrt(static_cast<float>(n))));
    auto bias = numbers.list(static_cast<size_t>(c.channels));
    std::vector<double> expected(static_cast<size_t>(c.rows) * stride, 0.0);
    for (int row = 0; row < c.rows; ++row) {
        for (int b = 0; b < blocks; ++b) {
            for (int i = 0; i < n; ++i) {
                const int at = place_of(c, b, i);
                double sum = (mistake == BlockMistake::no_identity ? 0 : x[row * c.channels + at]) + (c.bias ? bias[at] : 0);
                for (int j = 0; j < n; ++j)
                    sum += static_cast<double>(w[((c.shared ? 0 : b) * n + i) * n + j]) * x[row * c.channels + place_of(c, b, j)];
                expected[static_cast<size_t>(row) * stride + at] = sum;
            }
        }
    }
    if (mistake == BlockMistake::other_block) std::rotate(w.begin(), w.begin() + n * n, w.end());
    if (mistake == BlockMistake::other_bias) std::rotate(bias.begin(), bias.begin() + 1, bias.end());
    if (mistake == BlockMistake::transposed) {
        for (int b = 0; b < stored; ++b) {
            for (int i = 0; i < n; ++i) {
                for (int j = 0; j < i; ++j) std::swap(w[(b * n + i) * n + j], w[(b * n + j) * n + i]);
            }
        }
    }
    const PackedWeights packed = packed_weights<T>(StoredWeights::of(w, stored * n, n));
    const Bytes dx = to_device<F>(padded_rows(x, c.channels, stride)), y = room<F>(static_cast<size_t>(c.rows) * stride);
    const Bytes dbias = to_device<float>(padded_rows(bias, c.channels, stride));
    BlockArgs p;
    p.x = dx.data(), p.w = packed.view, p.y = y.data(), p.m = c.rows, p.channels = c.channels, p.stride = stride, p.size = n;
    p.distance = mistake == BlockMistake::other_distance ? 0 : c.distance;
    if (c.bias) p.bias = static_cast<const float *>(dbias.data());
    if constexpr (sizeof(F) == 4)
        add_vector_blocks<T>(p, nullptr);
    else
        add_blocks<T>(p, nullptr);
    const auto got = from_device<F>(y);
    const double unit = sizeof(F) == 4 ? 2e-6 : std::is_same_v<T, bf16> ? 3e-3 : 4e-4;
    return std::fmax(error_of(got, expected), worst_of(got, expected) / 8) / unit;
}

template <typename F, typename T>
void check_blocks(const BlockCase & c, unsigned seed) {
    const double error = error_of_blocks<F, T>(c, seed);
    if (!(error < 1)) check::fail(__FILE__, __LINE__, std::string(c.what) + ": " + std::to_string(error));
}

}  // namespace

TEST(blocks) {
    unsigned seed = 200;
    for (const BlockCase & c : kBlockCases) {
        check_blocks<bf16, bf16>(c, seed++);
        check_blocks<f16, f16>(c, seed++);
    }
}

TEST(blocks_of_vectors) {
    unsigned seed = 300;
    for (const BlockCase & c : kBlockCases) {
        check_blocks<float, bf16>(c, seed++);
        check_blocks<float, f16>(c, seed++);
    }
}

/// The bounds see a block of another place, turned, or without what it is added to.
TEST(wrong_blocks_are_seen) {
    for (const BlockCase & c : kBlockCases) {
        const auto is_seen = [&](BlockMistake mistake) {
            if (!(error_of_blocks<bf16, bf16>(c, 350, mistake) > 1))
                check::fail(__FILE__, __LINE__, std::string(c.what) + ": mistake " + std::to_string(static_cast<int>(mistake)));
        };
        is_seen(BlockMistake::no_identity);
        if (c.distance > c.size / 2) is_seen(BlockMistake::other_distance);
        if (!c.shared) is_seen(BlockMistake::other_block);
        if (c.size > 1) is_seen(BlockMistake::transposed);
        if (c.bias) is_seen(BlockMistake::other_bias);
    }
}
