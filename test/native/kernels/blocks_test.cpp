#include "kernels/common/blocks.h"

#include "reference.h"

// Products with a matrix of blocks, against its definition.

using namespace kernel_tests;

namespace {

/// x + W x in float64, from the positions that BlockShape documents.
std::vector<double> reference_blocks(const BlockShape & s, const std::vector<float> & x, const std::vector<float> & w,
                                     const float * bias, bool shared) {
    std::vector<double> out(x.begin(), x.end());
    const int64_t size = s.order.size, run = s.order.distance ? size / 2 : size,
                  across = s.order.distance ? s.order.distance / run : 1;
    const auto position = [&](int64_t block, int64_t i) {
        if (s.order.distance == 0) return block * size + i;
        return block / across * 2 * s.order.distance + i / run * s.order.distance + block % across * run + i % run;
    };
    for (int64_t t = 0; t < s.tokens; ++t) {
        for (int64_t b = 0; b < s.channels / size; ++b) {
            for (int64_t i = 0; i < size; ++i) {
                double sum = 0;
                for (int64_t j = 0; j < size; ++j)
                    sum += static_cast<double>(w[static_cast<size_t>(((shared ? 0 : b) * size + i) * size + j)]) *
                           x[static_cast<size_t>(t * s.channels + position(b, j))];
                out[static_cast<size_t>(t * s.channels + position(b, i))] += sum + (bias ? bias[position(b, i)] : 0.0f);
            }
        }
    }
    return out;
}

}  // namespace

TEST(block_products_match_the_definition) {
    for (const Arithmetic arithmetic : {Arithmetic::f32, Arithmetic::fast}) {
        for (int round = 0; round < 60; ++round) {
            BlockShape s;
            s.tokens = pick(1, round % 10 == 9 ? 1000 : 40);
            const int64_t run = pick(1, round % 5 == 4 ? 160 : 30);
            const int64_t pieces = round % 2 + 1, across = pick(1, pieces == 1 ? 6 : 4);
            s.order.size = pieces * run, s.order.distance = pieces == 1 ? 0 : across * run;
            s.channels = s.order.size * across * pick(1, 3);
            const bool shared = round % 3 == 2 && s.blocks() > 1;
            const auto x = random_values(s.tokens * s.channels);
            const StoredMatrix w =
                stored(shared ? s.order.size : s.channels, s.order.size, round % 4 == 1 ? Element::f32 : Element::f16);
            const TileSet & tiles = block_tiles(arithmetic, run);
            const auto rows = in_form({&tiles, nullptr, &vectors_portable()}, x, s.channels, tiles.bf16 ? Form::bf16 : Form::f32);
            const auto values = random_values(s.channels);
            const float * bias = round % 4 < 2 ? values.data() : nullptr;
            const auto expected = reference_blocks(s, x, w.full, bias, shared);
            const int threads = static_cast<int>(pick(1, 5));
            std::vector<float> out(x.size(), NAN);
            for (int t = 0; t < threads; ++t)
                block_product(tiles, vector_set(), s, x.data(), rows.data(), w.matrix, bias, out.data(), {t, threads});
            const double error = distance(tiles, out, expected);
            if (!(error <= tolerance(tiles))) check::fail(tiles.name, round, "blocks off by " + std::to_string(error));
        }
    }
}

TEST(mixed_groups_match_the_definition) {
    for (int round = 0; round < 20; ++round) {
        MixShape s;
        s.tokens = pick(1, 40), s.rows = pick(1, 9), s.columns = pick(1, 9), s.width = pick(1, 90);
        const auto x = random_values(s.tokens * s.columns * s.width), w = random_values(s.rows * s.columns);
        const auto added = random_values(s.tokens * s.rows * s.width);
        const bool adds = round % 2 == 0;
        std::vector<double> expected(added.size());
        for (size_t at = 0; at < expected.size(); ++at) {
            const size_t width = static_cast<size_t>(s.width), k = at % width, i = at / width % static_cast<size_t>(s.rows);
            const size_t token = at / width / static_cast<size_t>(s.rows), columns = static_cast<size_t>(s.columns);
            expected[at] = adds ? added[at] : 0;
            for (size_t j = 0; j < columns; ++j)
                expected[at] += static_cast<double>(w[i * columns + j]) * x[(token * columns + j) * width + k];
        }
        const int threads = static_cast<int>(pick(1, 5));
        std::vector<float> out(expected.size(), NAN);
        for (int t = 0; t < threads; ++t) mix(s, x.data(), w.data(), adds ? added.data() : nullptr, out.data(), {t, threads});
        const double error = errors(out, expected).largest;
        if (!(error <= 1e-5)) check::fail("mix", round, "off by " + std::to_string(error));
    }
}
