#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/cpu.h"
#include "kernels/common/choice.h"
#include "kernels/common/pool.h"
#include "kernels/peak/peak.h"
#include "reference.h"

using namespace kernel_tests;

namespace {

constexpr Element kElements[] = {Element::f32, Element::f16, Element::bf16, Element::other};

}  // namespace

TEST(conv_matches_the_definition) {
    for_every_set([](const TileSet & tiles) {
        for (int round = 0; round < 40; ++round) {
            ConvShape s = random_conv(round, round % 6 == 5 ? 70 : 9);
            // Few output channels: the last layer of a network.
            if (round % 6 == 2) s.in = 16 * pick(1, 6), s.out = pick(1, 4);
            const auto x = random_values(s.n * s.in * s.height * s.width);
            const StoredMatrix w = stored(s.out, s.in * s.taps(), kElements[round % 4]);
            const auto bias = random_values(s.out), add = random_values(s.n * s.out),
                       residual = random_values(s.pixels() * s.out);
            Epilogue epilogue;
            if (round % 2 == 0) epilogue = {bias.data(), add.data(), residual.data(), static_cast<Gate>(round / 2 % 4)};
            auto expected = reference_conv(s, x, w.full);
            apply_epilogue(s, epilogue, expected);
            const auto rows = in_form({&tiles, nullptr, &vectors_portable()}, x, s.in, tiles.bf16 ? Form::bf16 : Form::f32);
            const int threads = static_cast<int>(pick(1, 5));
            std::vector<float> out(expected.size(), NAN);
            for (int t = 0; t < threads; ++t)
                conv2d(tiles, vector_set(), s, rows.data(), w.matrix, epilogue, {out.data()}, {t, threads});
            const double error = distance(tiles, out, expected);
            if (!(error <= tolerance(tiles))) check::fail(tiles.name, round, "conv error " + std::to_string(error));
        }
    });
}

TEST(linear_matches_the_definition) {
    for_every_set([](const TileSet & tiles) {
        for (int round = 0; round < 24; ++round) {
            const int64_t tokens = pick(1, 200), rows = pick(1, 150), k = pick(1, 150);
            const ConvShape s = ConvShape::linear(tokens, k, rows);
            const auto x = random_values(tokens * k), bias = random_values(rows), residual = random_values(tokens * rows);
            const StoredMatrix w = stored(rows, k, kElements[round % 4]);
            Epilogue epilogue;
            epilogue.activation = static_cast<Gate>(round / 4 % 4);
            if (round % 2) epilogue.bias = bias.data(), epilogue.residual = residual.data();
            auto expected = reference_conv(s, x, w.full);
            apply_epilogue(s, epilogue, expected);
            const auto in = in_form({&tiles, nullptr, &vectors_portable()}, x, k, tiles.bf16 ? Form::bf16 : Form::f32);
            const int threads = static_cast<int>(pick(1, 5));
            std::vector<float> out(expected.size(), NAN);
            for (int t = 0; t < threads; ++t)
                conv2d(tiles, vector_set(), s, in.data(), w.matrix, epilogue, {out.data()}, {t, threads});
            const double error = distance(tiles, out, expected);
            if (!(error <= tolerance(tiles))) check::fail(tiles.name, round, "linear error " + std::to_string(error));
        }
    });
}

// Where rows and weights are bfloat16 already, nothing but the order of additions is left.
TEST(bf16_products_are_those_of_the_rounded_numbers) {
    for_every_set([](const TileSet & tiles) {
        if (!tiles.bf16) return;
        for (int round = 0; round < 40; ++round) {
            const ConvShape s =
                round % 4 == 3 ? ConvShape::linear(pick(1, 60), pick(1, 2100), pick(1, 140)) : random_conv(round, 40);
            auto x = random_values(s.n * s.in * s.height * s.width);
            for (float & value : x) value = bfloat_to_float(float_to_bfloat(value));
            const StoredMatrix w = stored(s.out, s.in * s.taps(), Element::bf16);
            const auto expected = reference_conv(s, x, w.full);
            const auto rows = in_form({&tiles, nullptr, &vectors_portable()}, x, s.in, Form::bf16);
            std::vector<float> out(expected.size(), NAN);
            conv2d(tiles, vector_set(), s, rows.data(), w.matrix, {}, {out.data()}, {0, 1});
            const double error = errors(out, expected).largest;
            if (!(error <= 2e-5)) check::fail(tiles.name, round, "off by " + std::to_string(error));
        }
    });
}

// So many channels that a panel is computed in groups, whose sums are kept in between, also over several chunks of pixels.
TEST(wide_convolutions_match_the_definition) {
    struct Case {
        int64_t in, height, width, out;
        int kernel, threads;
    };
    const Case cases[] = {{1537, 3, 5, 3, 3, 2},   {1536, 3, 6, 43, 3, 2}, {7685, 3, 7, 43, 1, 2}, {7680, 2, 8, 3, 1, 1},
                          {800, 17, 30, 70, 3, 8}, {768, 9, 30, 5, 3, 3},  {832, 60, 70, 2, 3, 1}, {70, 12, 13, 3, 9, 2}};
    for_every_set([&](const TileSet & tiles) {
        int round = 0;
        for (const Case & c : cases) {
            ConvShape s;
            s.in = c.in, s.height = s.out_height = c.height, s.width = s.out_width = c.width, s.out = c.out;
            s.kernel = c.kernel, s.pad_left = s.pad_top = c.kernel / 2;
            const auto x = random_values(s.in * s.height * s.width), bias = random_values(s.out), add = random_values(s.out),
                       residual = random_values(s.pixels() * s.out);
            const Epilogue epilogue = {bias.data(), add.data(), residual.data(), Gate::silu};
            const StoredMatrix w = stored(s.out, s.in * s.taps(), kElements[(round + 2) % 4]);
            auto expected = reference_conv(s, x, w.full);
            apply_epilogue(s, epilogue, expected);
            const auto rows = in_form({&tiles, nullptr, &vectors_portable()}, x, s.in, tiles.bf16 ? Form::bf16 : Form::f32);
            std::vector<float> out(expected.size(), NAN);
            for (int t = 0; t < c.threads; ++t)
                conv2d(tiles, vector_set(), s, rows.data(), w.matrix, epilogue, {out.data()}, {t, c.threads});
            const double error = distance(tiles, out, expected);
            if (!(error <= tolerance(tiles))) check::fail(tiles.name, round, "conv error " + std::to_string(error));
            ++round;
        }
    });
}

// The side product of an adapter: columns [first, first + rank) of rows that several layers share.
TEST(side_products_match_the_definition) {
    for_every_set([](const TileSet & tiles) {
        const Form form = tiles.bf16 ? Form::bf16 : Form::f32;
        const RowKernels rows_of{&tiles, nullptr, &vectors_portable()};
        for (int round = 0; round < 48; ++round) {
            const bool gated = round % 4 == 3, wide = round % 12 == 5;  // wide: sums that are kept between groups of channels
            ConvShape s = random_conv(round, 70);
            if (gated) s = ConvShape::linear(pick(1, 90), pick(1, 60), 128 * pick(1, 2));
            if (wide) s = ConvShape::linear(pick(1, 60), tiles.bf16 ? 6400 : 3200, pick(1, 140));
            const int64_t rank = pick(1, 40), first = 2 * pick(0, 8), stack = first + (rank + 1) / 2 * 2 + pick(0, 9);
            const auto x = random_values(s.n * s.in * s.height * s.width), low = random_values(s.pixels() * stack);
            const StoredMatrix w = stored(s.out, s.in * s.taps(), kElements[round % 4]);
            const StoredMatrix up = stored(s.out, rank, kElements[round / 2 % 3]);
            const auto bias = random_values(s.out), residual = random_values(s.pixels() * s.out);
            Epilogue epilogue;
            epilogue.bias = bias.data(), epilogue.geglu = gated;
            const auto gain = random_values(s.out);
            if (round % 3 == 0) epilogue.gain = gain.data();
            if (!gated) epilogue.residual = residual.data(), epilogue.activation = static_cast<Gate>(round / 4 % 4);

            auto sums = reference_conv(s, x, w.full);
            std::vector<float> own(static_cast<size_t>(s.pixels() * rank));
            for (int64_t p = 0; p < s.pixels(); ++p)
                for (int64_t r = 0; r < rank; ++r)
                    own[static_cast<size_t>(p * rank + r)] = low[static_cast<size_t>(p * stack + first + r)];
            const auto added = reference_conv(ConvShape::linear(s.pixels(), rank, s.out), own, up.full);
            for (size_t i = 0; i < sums.size(); ++i) sums[i] += added[i];
            std::vector<double> expected;
            if (gated) {
                const int64_t dim = s.out / 2;
                for (int64_t at = 0; at < s.pixels() * dim; ++at) {
                    const int64_t value = at / dim * s.out + at % dim, gate = value + dim;
                    const auto sum = [&](int64_t i) {
                        const size_t o = static_cast<size_t>(i % s.out);
                        return sums[static_cast<size_t>(i)] * (epilogue.gain ? gain[o] : 1.0f) + bias[o];
                    };
                    expected.push_back(sum(value) * exact_gate(sum(gate), Gate::gelu));
                }
            } else {
                apply_epilogue(s, epilogue, sums);
                expected = sums;
            }

            const auto rows = in_form(rows_of, x, s.in, form), below = in_form(rows_of, low, stack, form);
            RowFormat format;
            format.form = form, format.rows = s.pixels(), format.channels = stack;
            epilogue.side.x = below.data() + first * tiles.element_bytes();
            epilogue.side.row_bytes = format.row_bytes();
            epilogue.side.w = up.matrix;
            const int threads = static_cast<int>(pick(1, 5));
            std::vector<float> out(expected.size(), NAN);
            for (int t = 0; t < threads; ++t)
                conv2d(tiles, vector_set(), s, rows.data(), w.matrix, epilogue, {out.data()}, {t, threads});
            const double error = distance(tiles, out, expected);
            if (!(error <= tolerance(tiles)))
                check::fail(tiles.name, round, "error with a side product " + std::to_string(error));
        }
    });
}

// Both halves of a gated layer at once, and results in bfloat16.
TEST(gated_products_match_the_definition) {
    for_every_set([](const TileSet & tiles) {
        for (int round = 0; round < 8; ++round) {
            const int64_t tokens = pick(1, 100), k = round == 7 ? (tiles.bf16 ? 6400 : 3200) : pick(1, 90), dim = 64 * pick(1, 2);
            const ConvShape s = ConvShape::linear(tokens, k, 2 * dim);
            const auto x = random_values(tokens * k), bias = random_values(2 * dim);
            const StoredMatrix w = stored(2 * dim, k, kElements[round % 4]);
            Epilogue epilogue;
            epilogue.bias = bias.data(), epilogue.geglu = true;
            auto sums = reference_conv(s, x, w.full);
            std::vector<double> expected;
            for (int64_t t = 0; t < tokens; ++t)
                for (int64_t c = 0; c < dim; ++c) {
                    const size_t at = static_cast<size_t>(t * 2 * dim + c), gate = at + static_cast<size_t>(dim);
                    expected.push_back((sums[at] + bias[static_cast<size_t>(c)]) *
                                       exact_gate(sums[gate] + bias[static_cast<size_t>(dim + c)], Gate::gelu));
                }
            const auto in = in_form({&tiles, nullptr, &vectors_portable()}, x, k, tiles.bf16 ? Form::bf16 : Form::f32);
            const bool half = tiles.bf16 && round % 2 == 0;
            std::vector<float> out(expected.size(), NAN);
            std::vector<uint16_t> halves(expected.size());
            const ProductOutput output{half ? static_cast<void *>(halves.data()) : out.data(), half};
            for (int t = 0; t < 3; ++t) conv2d(tiles, vector_set(), s, in.data(), w.matrix, epilogue, output, {t, 3});
            for (size_t i = 0; half && i < out.size(); ++i) out[i] = bfloat_to_float(halves[i]);
            const double error = distance(tiles, out, expected);
            // In float32, a product of two results, each within the tolerance.
            if (!(error <= (tiles.bf16 ? 1 : 2) * tolerance(tiles)))
                check::fail(tiles.name, round, "geglu error " + std::to_string(error));
        }
    });
}

// Every set has a name that LATENT_KERNELS may give, and those in use are the best of each kind.
TEST(kernels_in_use_are_the_best_that_run) {
    const KernelChoice choice = kernel_choice();
    const auto names = kernel_names();
    CHECK(!names.empty() && names.front() == "portable");
    const auto named = [&](const std::string & name) { return std::find(names.begin(), names.end(), name) != names.end(); };
    size_t at = 0;
    for_every_set([&](const TileSet & set) {
        CHECK(named(set.name) && choice.runnable[at].name == set.name);
        CHECK(choice.runnable[at++].format == (set.bf16 ? "bf16" : "f32"));
        if (!set.bf16) CHECK(kernels_allowed(set.name) == true);
    });
    for_every_int8_set([&](const Int8Set & set) { CHECK(named(set.name)); });
    for_every_vector_set([&](const VectorSet & set) { CHECK(named(set.name)); });
    const TileSet * sets[8];
    const int count = runnable_tile_sets(sets, 8);
    const bool slow = latent::cpu_features().slow_avx512_bf16;
    CHECK(choice.fast == best_tile_set(sets, count, Arithmetic::fast, slow).name);
    CHECK(&best_tile_set(sets, count, Arithmetic::fast, false) == sets[count - 1]);
    for (int n = 1; n <= count; ++n) {  // as if the processor had fewer
        const TileSet &best = best_tile_set(sets, n, Arithmetic::fast, true),
                      &full = best_tile_set(sets, n, Arithmetic::f32, true);
        CHECK(!full.bf16 && (!best.bf16 || best.rows > kTileRows));
        CHECK(best.bf16 || &best == &full);
    }
    CHECK(choice.int8 == choice.runnable_int8.back());
    CHECK(choice.float32 == tile_set(Arithmetic::f32).name && choice.rows == vector_set().name);
}

// The peak is measured by the instructions of the best set of each arithmetic.
TEST(peaks_match_the_sets) {
    const auto peaks = measure_peak(1, 0.005);
    const auto has = [&](const std::string & format, const std::string & instructions) {
        for (const Peak & peak : peaks)
            if (peak.format == format && peak.instructions == instructions) return true;
        return false;
    };
    CHECK(!peaks.empty() && peaks[0].format == "f32");
    for (const Peak & peak : peaks) CHECK(peak.gflops > 0 && std::isfinite(peak.gflops));
    for_every_set([&](const TileSet & set) {
        if (set.bf16) CHECK(has("bf16", set.name));
    });
    for_every_int8_set([&](const Int8Set & set) {
        const std::string name = set.name;
        if (name == "avx_vnni" || name == "avx512_vnni" || name == "neon_dotprod" || name == "neon_i8mm")
            CHECK(has("int8", name));
    });
}

TEST(bandwidths_of_every_level_are_measured) {
    const auto levels = measure_bandwidth(2, 0.002);
    CHECK(levels.size() == 4);
    for (size_t i = 0; i < levels.size(); ++i) {
        CHECK(levels[i].gigabytes > 0 && std::isfinite(levels[i].gigabytes));
        CHECK(i == 0 || levels[i].bytes > levels[i - 1].bytes);
    }
    CHECK(levels[0].bytes == 16 << 10 && levels[3].bytes == int64_t{128} << 20);  // two threads share 256 MiB
    CHECK(measure_bandwidth(32, 0.001)[3].bytes == int64_t{16} << 20);
}

// On processors with slow and fast cores the fast ones must do more, or the slow ones would decide when an operation ends.
TEST(pool_gives_a_slow_thread_fewer_parts) {
    for (const int threads : {2, 3, 7}) {  // also more threads than cores
        Pool pool(threads);
        const int count = 4 * pool.threads();
        std::atomic<int> done{0};
        std::atomic<bool> late{false};
        pool.run(count, [&](int part) {
            if (part != 0) {
                done.fetch_add(1);
                return;
            }
            // The slowest thread there can be: it ends its first part after all the others.
            const auto start = std::chrono::steady_clock::now();
            while (done.load() < count - 1 && !late.load()) {
                std::this_thread::yield();
                if (std::chrono::steady_clock::now() - start > std::chrono::seconds(20)) late = true;
            }
        });
        CHECK(done.load() == count - 1 && !late.load());
    }
}

TEST(pool_runs_every_part_once_and_passes_errors_on) {
    for (const int threads : {1, 2, 5}) {
        Pool pool(threads);
        for (int round = 0; round < 2000; ++round) {
            const int count = static_cast<int>(pick(0, 12));
            std::vector<std::atomic<int>> hits(12);
            pool.run(count, [&](int part) { hits[static_cast<size_t>(part)].fetch_add(1); });
            for (int i = 0; i < 12; ++i) CHECK(hits[static_cast<size_t>(i)].load() == (i < count ? 1 : 0));
        }
        bool thrown = false;
        std::atomic<int> ran{0};
        try {
            pool.run(8, [&](int part) {
                ran.fetch_add(1);
                if (part == 3) throw std::runtime_error("part 3");
            });
        } catch (const std::runtime_error &) {
            thrown = true;
        }
        CHECK(thrown);
        int after = 0;
        pool.run(1, [&](int) { ++after; });
        CHECK(after == 1);
    }
}
