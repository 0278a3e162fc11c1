#include <algorithm>
#include <cmath>
#include <functional>
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

std::vector<float> attend(const TileSet & tiles, const AttentionShape & s, const Tokens & x, int threads,
                          const Int8Scores * int8 = nullptr) {
    std::vector<float> out(x.q.size(), NAN);
    for (int t = 0; t < threads; ++t) attention(tiles, int8, s, x.q.data(), x.k.data(), x.v.data(), out.data(), {t, threads});
    return out;
}

void for_every_score(const std::function<void(const char *, const Int8Scores &)> & test) {
    const Int8Set * sets[8];
    const int count = runnable_int8_sets(sets, 8);
    for (int i = 0; i < count; ++i) {
        if (sets[i]->scores) test(sets[i]->name, *sets[i]->scores);
    }
}

/// round(x / scale) * scale, with the scale of Int8Scores: the largest magnitude is 127.
void quantise(std::vector<float> & x, int64_t first, int64_t rows, int64_t stride, int64_t at, int64_t dim,
              const std::vector<double> & mean) {
    const auto each = [&](const std::function<void(float &, double)> & take) {
        for (int64_t r = first; r < first + rows; ++r)
            for (int64_t d = 0; d < dim; ++d) take(x[static_cast<size_t>(r * stride + at + d)], mean[static_cast<size_t>(d)]);
    };
    double most = 0;
    each([&](float & value, double center) { most = std::max(most, std::fabs(value - center)); });
    each([&](float & value, double center) {
        value = most == 0 ? 0.0f : static_cast<float>(std::nearbyint((value - center) / most * 127) * most / 127);
    });
}

/// Queries in panels of 64 and keys without their mean in blocks of 192, as the 8-bit integers of the scores represent them.
Tokens as_scored(const AttentionShape & s, Tokens x) {
    const int64_t width = s.heads * s.dim;
    for (int64_t head = 0; head < s.batch * s.heads; ++head) {
        const int64_t b = head / s.heads, at = head % s.heads * s.dim;
        std::vector<double> mean(static_cast<size_t>(s.dim), 0.0);
        for (int64_t q = 0; q < s.queries; q += 64)
            quantise(x.q, b * s.queries + q, std::min<int64_t>(64, s.queries - q), width, at, s.dim, mean);
        for (int64_t key = 0; key < s.keys; ++key)
            for (int64_t d = 0; d < s.dim; ++d)
                mean[static_cast<size_t>(d)] +=
                    x.k[static_cast<size_t>((b * s.keys + key) * width + at + d)] / static_cast<double>(s.keys);
        for (int64_t key = 0; key < s.keys; key += 192)
            quantise(x.k, b * s.keys + key, std::min<int64_t>(192, s.keys - key), width, at, s.dim, mean);
    }
    return x;
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

TEST(causal_attention_matches_the_definition) {
    for_every_set([](const TileSet & tiles) {
        for (int round = 0; round < 12; ++round) {
            AttentionShape s;
            s.causal = true, s.batch = pick(1, 2), s.heads = pick(1, 3), s.dim = round == 0 ? 64 : pick(1, 70);
            s.queries = s.keys = round == 0 ? 77 : round % 3 == 0 ? pick(193, 500) : pick(1, 150);
            if (round % 4 == 3) s.keys = pick(1, 250);
            compare(tiles, s, Tokens(s), tolerance(tiles), "causal");
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

// What the integers stand for is computed exactly; a few of them round to a neighbour, because the mean and the quotients are
// float32.
TEST(int8_scores_are_those_of_the_quantised_queries_and_keys) {
    for_every_score([](const char * name, const Int8Scores & int8) {
        for_every_set([&](const TileSet & tiles) {
            for (const int64_t dim : {3, 33, 40, 80, 160, 256}) {
                for (const int64_t keys : {1, 77, 401}) {
                    AttentionShape s;
                    s.batch = 2, s.heads = 2, s.dim = dim, s.queries = 67, s.keys = keys;
                    Tokens x(s);
                    for (float & k : x.k) k += 3.0f;
                    const Tokens scored = as_scored(s, x);
                    const std::vector<float> out = attend(tiles, s, x, static_cast<int>(pick(1, 5)), &int8);
                    const double error = errors(out, reference_attention(s, scored.q, scored.k, x.v)).root_mean_square;
                    if (!(error <= (tiles.bf16 ? tolerance(tiles) : 1e-3)))
                        check::fail(name, static_cast<int>(dim), std::string(tiles.name) + " error " + std::to_string(error));
                    const double whole = errors(out, reference_attention(s, x.q, x.k, x.v)).root_mean_square;
                    if (!(whole <= 0.03)) check::fail(name, static_cast<int>(keys), "of the definition " + std::to_string(whole));
                }
            }
        });
    });
}

// Scores up to 6e6, of which only the largest has weight.
TEST(int8_scores_bear_large_scores) {
    for_every_score([](const char * name, const Int8Scores & int8) {
        for_every_set([&](const TileSet & tiles) {
            for (const float size : {4.0f, 1e1f, 1e2f, 1e3f}) {
                AttentionShape s;
                s.dim = 33, s.queries = 5, s.keys = 401;
                Tokens x(s);
                for (int64_t key = 0; key < s.keys; ++key)
                    for (int64_t d = 0; d < s.dim; ++d)
                        x.k[static_cast<size_t>(key * s.dim + d)] = key == 300 ? size : -size * static_cast<float>(d % 3);
                std::fill(x.q.begin(), x.q.end(), size);
                const std::vector<float> out = attend(tiles, s, x, 1, &int8);
                for (size_t i = 0; i < out.size(); ++i) {
                    const float value = x.v[300 * static_cast<size_t>(s.dim) + i % static_cast<size_t>(s.dim)];
                    if (!(std::fabs(out[i] - value) <= 0.01f * std::fabs(value) + 1e-6f))
                        return check::fail(name, static_cast<int>(i), std::string(tiles.name) + " " + std::to_string(out[i]));
                }
            }
        });
    });
}

TEST(int8_scores_of_values_that_are_not_finite_are_nan) {
    for_every_score([](const char * name, const Int8Scores & int8) {
        for_every_set([&](const TileSet & tiles) {
            for (const float odd : {NAN, INFINITY, -INFINITY}) {
                for (const bool of_key : {false, true}) {
                    AttentionShape s;
                    s.dim = 33, s.queries = 130, s.keys = 401;
                    Tokens x(s);
                    (of_key ? x.k : x.q)[static_cast<size_t>(64 * s.dim + 32)] = odd;
                    const std::vector<float> out = attend(tiles, s, x, 1, &int8);
                    for (size_t i = 0; i < out.size(); ++i) {
                        const size_t panel = i / static_cast<size_t>(64 * s.dim);
                        if (std::isnan(out[i]) != (of_key || panel == 1))
                            return check::fail(name, static_cast<int>(i), of_key ? "key" : "query");
                    }
                }
            }
        });
        // Nothing to divide by: equal weights.
        AttentionShape s;
        s.dim = 5, s.queries = 3, s.keys = 7;
        Tokens x(s);
        std::fill(x.q.begin(), x.q.end(), 0.0f);
        std::fill(x.k.begin(), x.k.end(), 2.0f);
        const double error =
            distance(tiles_portable(), attend(tiles_portable(), s, x, 1, &int8), reference_attention(s, x.q, x.k, x.v));
        if (!(error < 1e-5)) check::fail(name, 0, "zeros " + std::to_string(error));
    });
}
