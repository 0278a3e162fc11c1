#include <cmath>
#include <vector>

#include "reference.h"

// Attention against its definition in float64.

using namespace kernel_tests;

namespace {

struct Tokens {
    std::vector<float> q, k, v;

    explicit Tokens(const AttentionShape & s)
        : q(random_values(s.batch * s.queries * s.heads * s.dim)),
          k(random_values(s.batch * s.keys * s.heads * s.dim)),
          v(random_values(s.batch * s.keys * s.heads * s.dim)) {}
};

std::vector<float> attend(const TileSet & tiles, const AttentionShape & s, const Tokens & x, int threads) {
    std::vector<float> out(x.q.size(), NAN);
    for (int t = 0; t < threads; ++t) attention(tiles, s, x.q.data(), x.k.data(), x.v.data(), out.data(), {t, threads});
    return out;
}

void compare(const TileSet & tiles, const AttentionShape & s, const Tokens & x, double most, const char * what) {
    const double error =
        distance(tiles, attend(tiles, s, x, static_cast<int>(pick(1, 5))), reference_attention(s, x.q, x.k, x.v));
    if (!(error <= most)) check::fail(tiles.name, static_cast<int>(s.dim), std::string(what) + " error " + std::to_string(error));
}

}  // namespace

TEST(attention_matches_the_definition) {
    for_every_set([](const TileSet & tiles) {
        for (int round = 0; round < 16; ++round) {
            AttentionShape s;
            s.batch = pick(1, 2), s.heads = pick(1, 3), s.dim = pick(1, 70);
            s.queries = pick(1, 150), s.keys = round % 3 == 0 ? pick(257, 700) : pick(1, 90);
            compare(tiles, s, Tokens(s), tolerance(tiles), "attention");
        }
    });
}

// The head sizes of the models that exist and an odd one, with the keys of a prompt and with as many as take several blocks.
TEST(attention_of_the_models_matches_the_definition) {
    for_every_set([](const TileSet & tiles) {
        for (const int64_t dim : {33, 40, 64, 80, 160, 512}) {
            for (const int64_t keys : {77, 1100}) {
                AttentionShape s;
                s.heads = keys == 77 ? 2 : 1, s.dim = dim, s.queries = keys == 77 ? 70 : 9, s.keys = keys;
                compare(tiles, s, Tokens(s), tolerance(tiles), keys == 77 ? "prompt" : "long");
            }
        }
    });
}

// Scores up to 1e4 on either side, where exp() of a score itself would be infinite. Small whole numbers as queries and keys keep
// the products exact in bfloat16 as well, so that only the softmax is tested: of the largest scores, far apart or equal.
TEST(attention_bears_large_scores) {
    for_every_set([](const TileSet & tiles) {
        for (const int64_t dim : {33, 40, 512}) {
            for (const int64_t keys : {1, 77, 400}) {
                AttentionShape s;
                s.dim = dim, s.queries = 66, s.keys = keys;
                Tokens x(s);
                // A score is the product of the first elements over sqrt(dim).
                const float step = dim < 100 ? 1.0f : 2.0f;
                for (std::vector<float> * side : {&x.q, &x.k}) {
                    for (size_t i = 0; i < side->size(); ++i)
                        (*side)[i] = i % static_cast<size_t>(dim) ? 0.0f : step * static_cast<float>(pick(-255, 255));
                }
                x.q[0] = x.k[0] = 255 * step;
                // Numbers near 1e4 are 1e-3 apart in float32, and an error of a score is a relative one of its weight.
                compare(tiles, s, x, tiles.bf16 ? 0.02 : 2e-3, "large scores:");
            }
        }
    });
}
