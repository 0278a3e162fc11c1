#include <cmath>
#include <cstdlib>

#include "check.h"
#include "graph/runner.h"
#include "memory_source.h"

// Every operation of both homes against its definition in float64. With LATENT_TEST_DEVICE, the portable home on that device.

using namespace latent;
using namespace latent::graph;

namespace {

const char * device_name() {
    const char * named = std::getenv("LATENT_TEST_DEVICE");
    return named ? named : "cpu";
}

DevicePtr device(int threads = 2) {
    static std::map<int, DevicePtr> devices;
    DevicePtr & known = devices[threads];
    if (!known) known = Device::create(device_name(), threads);
    return known;
}

bool on_cpu() {
    return device()->kind() == "cpu";
}

const WeightPolicy exact{Precision::exact, {}};

double largest_difference(const std::vector<float> & actual, const std::vector<double> & expected) {
    if (actual.size() != expected.size()) return INFINITY;
    double worst = 0;
    for (size_t i = 0; i < actual.size(); ++i)
        worst = std::fmax(worst, std::isfinite(actual[i]) ? std::fabs(actual[i] - expected[i]) : INFINITY);
    return worst;
}

/// One graph over one store: builds, sets the inputs, computes, returns output "y" of the portable or the fused home.
struct Bench {
    explicit Bench(bool fused = false) { limits.home = fused ? "fused" : "portable"; }

    WeightStore store{device(), "test"};
    std::shared_ptr<MemorySource> source = std::make_shared<MemorySource>();
    Runner::Limits limits;
    std::map<std::string, std::vector<float>> inputs;
    std::vector<int32_t> ids;

    std::vector<float> run(const GraphBuilder & build, size_t size, const WeightPolicy & policy = exact) {
        source->done();
        store.plan(source, policy);
        Runner runner(device(), store, "test");
        runner.set_limits(limits);
        const GraphMeasure measured = runner.measure(build);
        store.load({});
        Graph & graph = runner.prepare("key", build);
        CHECK(graph.bytes() <= measured.bytes);
        std::vector<float> y(size);
        for (int round = 0; round < 2; ++round) {  // the second round finds every input as the first left it
            for (const auto & [name, values] : inputs) graph.set_input(name, Span<const float>(values));
            if (!ids.empty()) graph.set_input("ids", Span<const int32_t>(ids));
            graph.compute(CancelToken{});
        }
        graph.get_output("y", y);
        return y;
    }
};

double sigmoid(double x) {
    return 1.0 / (1.0 + std::exp(-x));
}

struct ConvCase {
    int64_t in, out, width, height, batch;
    int kernel, stride;
    Padding padding;
    bool upsample, extras;
    uint64_t scratch;
    bool fused;
};

void check_conv(const ConvCase & c, DType stored = DType::f32, const WeightPolicy & policy = exact, double tolerance = 2e-5) {
    if (c.fused && !on_cpu()) return;
    Bench bench(c.fused);
    bench.limits.conv_scratch = c.scratch;
    const float gain = static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.in * c.kernel * c.kernel)));
    auto w = bench.source->add_random("c.weight", {c.out, c.in, c.kernel, c.kernel}, gain, stored);
    auto b = bench.source->add_random("c.bias", {c.out}, 0.5f);
    const Conv layer = Scope(bench.store.declared(), "").conv("c", c.in, c.out, c.kernel);
    const auto x = fixture::formula("x", static_cast<size_t>(c.in * c.width * c.height * c.batch));
    const auto add = fixture::formula("add", static_cast<size_t>(c.out * c.batch));

    const int64_t iw = c.width * (c.upsample ? 2 : 1), ih = c.height * (c.upsample ? 2 : 1);
    const int64_t low = c.padding == Padding::same ? (c.kernel - 1) / 2 : 0;
    const int64_t high = c.padding == Padding::same ? low : c.padding == Padding::right_bottom ? 1 : 0;
    const int64_t ow = (iw + low + high - c.kernel) / c.stride + 1, oh = (ih + low + high - c.kernel) / c.stride + 1;
    const auto residual = fixture::formula("residual", static_cast<size_t>(c.out * ow * oh * c.batch));
    std::vector<double> expected;
    for (int64_t n = 0; n < c.batch; ++n) {
        for (int64_t o = 0; o < c.out; ++o) {
            for (int64_t p = 0; p < ow * oh; ++p) {
                double sum = b[static_cast<size_t>(o)];
                for (int64_t i = 0; i < c.in * c.kernel * c.kernel; ++i) {
                    const int64_t channel = i / (c.kernel * c.kernel), dy = i / c.kernel % c.kernel, dx = i % c.kernel;
                    const int64_t y = p / ow * c.stride + dy - low, xx = p % ow * c.stride + dx - low;
                    if (y < 0 || y >= ih || xx < 0 || xx >= iw) continue;
                    const int64_t sy = c.upsample ? y / 2 : y, sx = c.upsample ? xx / 2 : xx;
                    sum += static_cast<double>(w[static_cast<size_t>(o * c.in * c.kernel * c.kernel + i)]) *
                           x[static_cast<size_t>(((n * c.in + channel) * c.height + sy) * c.width + sx)];
                }
                if (c.extras) sum += add[static_cast<size_t>(n * c.out + o)] + residual[expected.size()];
                expected.push_back(sum);
            }
        }
    }

    bench.inputs["x"] = x;
    if (c.extras) bench.inputs["add"] = add, bench.inputs["residual"] = residual;
    const auto y = bench.run(
        [&](Ops & ops) {
            const Map in = ops.input_map("x", c.width, c.height, c.in, c.batch);
            ConvOptions options;
            options.stride = c.stride;
            options.padding = c.padding;
            options.upsample = c.upsample;
            if (c.extras)
                options.channel_add = ops.input_seq("add", c.out, 1, c.batch),
                options.residual = ops.input_map("residual", ow, oh, c.out, c.batch);
            const Map out = ops.conv(in, layer, options);
            CHECK(out.width == ow && out.height == oh && out.channels == c.out && out.batch == c.batch);
            ops.output("y", out);
        },
        expected.size(), policy);
    const double difference = largest_difference(y, expected);
    if (!(difference <= tolerance)) {
        check::fail(__FILE__, __LINE__,
                    "conv kernel " + std::to_string(c.kernel) + " stride " + std::to_string(c.stride) + " scratch " +
                        std::to_string(c.scratch) + (c.fused ? " (fused)" : "") + " is off by " + std::to_string(difference));
    }
}

/// softmax(q k^T / sqrt(d)) v
std::vector<double> attention_reference(const std::vector<float> & q, const std::vector<float> & k, const std::vector<float> & v,
                                        int64_t batch, int64_t lq, int64_t lk, int64_t heads, int64_t d, bool causal) {
    std::vector<double> out(q.size());
    const int64_t dim = heads * d;
    for (int64_t n = 0; n < batch; ++n) {
        for (int64_t h = 0; h < heads; ++h) {
            for (int64_t i = 0; i < lq; ++i) {
                const int64_t last = causal ? i + 1 : lk;
                std::vector<double> score(static_cast<size_t>(last));
                double top = -INFINITY, sum = 0;
                for (int64_t j = 0; j < last; ++j) {
                    double dot = 0;
                    for (int64_t c = 0; c < d; ++c)
                        dot += static_cast<double>(q[static_cast<size_t>((n * lq + i) * dim + h * d + c)]) *
                               k[static_cast<size_t>((n * lk + j) * dim + h * d + c)];
                    score[static_cast<size_t>(j)] = dot / std::sqrt(static_cast<double>(d));
                    top = std::fmax(top, score[static_cast<size_t>(j)]);
                }
                for (double & s : score) sum += s = std::exp(s - top);
                for (int64_t c = 0; c < d; ++c) {
                    double value = 0;
                    for (int64_t j = 0; j < last; ++j)
                        value += score[static_cast<size_t>(j)] / sum * v[static_cast<size_t>((n * lk + j) * dim + h * d + c)];
                    out[static_cast<size_t>((n * lq + i) * dim + h * d + c)] = value;
                }
            }
        }
    }
    return out;
}

void check_attention(int64_t batch, int64_t lq, int64_t lk, int heads, int64_t d, bool causal, uint64_t scratch,
                     bool fused = false) {
    if (fused && !on_cpu()) return;
    Bench bench(fused);
    bench.limits.attention_scratch = scratch;
    const int64_t dim = heads * d;
    bench.inputs["q"] = fixture::formula("q", static_cast<size_t>(batch * lq * dim));
    bench.inputs["k"] = fixture::formula("k", static_cast<size_t>(batch * lk * dim));
    bench.inputs["v"] = fixture::formula("v", static_cast<size_t>(batch * lk * dim));
    const auto expected =
        attention_reference(bench.inputs["q"], bench.inputs["k"], bench.inputs["v"], batch, lq, lk, heads, d, causal);
    const auto y = bench.run(
        [&](Ops & ops) {
            const Seq q = ops.input_seq("q", dim, lq, batch), k = ops.input_seq("k", dim, lk, batch),
                      v = ops.input_seq("v", dim, lk, batch);
            ops.output("y", ops.attention(q, k, v, {heads, causal}));
        },
        expected.size());
    CHECK_NEAR(largest_difference(y, expected), 0.0, 5e-6);
}

}  // namespace

TEST(conv_forms) {
    const uint64_t whole = 1 << 30;
    const std::vector<std::pair<uint64_t, bool>> ways = {{whole, false}, {4000, false}, {1, false}, {whole, true}};
    for (const auto & [scratch, fused] : ways) {
        check_conv({5, 7, 9, 8, 2, 3, 1, Padding::same, false, false, scratch, fused});
        check_conv({5, 7, 9, 8, 2, 3, 1, Padding::same, false, true, scratch, fused});
        check_conv({6, 4, 8, 10, 2, 3, 2, Padding::same, false, true, scratch, fused});
        check_conv({6, 4, 7, 9, 1, 3, 2, Padding::same, false, false, scratch, fused});  // odd sides
        check_conv({6, 4, 8, 10, 2, 3, 2, Padding::right_bottom, false, false, scratch, fused});
        check_conv({4, 6, 5, 7, 2, 3, 1, Padding::same, true, true, scratch, fused});
        check_conv({4, 6, 8, 7, 1, 3, 1, Padding::none, false, false, scratch, fused});
        check_conv({3, 5, 6, 7, 2, 1, 1, Padding::same, false, true, scratch, fused});
        check_conv({3, 5, 6, 7, 2, 1, 2, Padding::none, false, false, scratch, fused});
        check_conv({2, 3, 11, 12, 1, 5, 1, Padding::same, false, false, scratch, fused});
        check_conv({3, 4, 1, 1, 1, 3, 1, Padding::same, false, false, scratch, fused});
        check_conv({64, 48, 24, 20, 2, 3, 1, Padding::same, false, true, scratch, fused});  // more than one tile
    }
}

TEST(conv_weight_types) {
    for (const bool fused : {false, true}) {
        const ConvCase c{32, 16, 9, 8, 2, 3, 1, Padding::same, false, true, 20000, fused};
        check_conv(c, DType::f16, exact, 2e-3);  // the weights are rounded, the reference is not
        check_conv(c, DType::f32, {Precision::fast, DType::f16}, fused ? 4e-2 : 6e-3);
        check_conv(c, DType::f32, {Precision::fast, DType::bf16}, 4e-2);
        check_conv(c, DType::f32, {Precision::fast, DType::q8_0}, 6e-2);
        check_conv(c, DType::f32, {Precision::fast, DType::q4_0}, 0.6);
    }
}

TEST(attention_forms) {
    for (const bool fused : {false, true}) {
        check_attention(1, 7, 7, 1, 8, false, 1 << 30, fused);
        check_attention(2, 9, 9, 1, 64, false, 1 << 30, fused);   // one head, as in first stages
        check_attention(2, 33, 77, 3, 8, false, 1 << 30, fused);  // text length
        check_attention(2, 33, 77, 3, 40, false, 6000, fused);    // in chunks
        check_attention(2, 20, 20, 2, 16, true, 1 << 30, fused);  // causal
        check_attention(1, 9, 5, 2, 24, false, 1, fused);         // one query at a time
    }
}

TEST(group_norm_forms) {
    const int64_t channels = 64, width = 5, height = 3, batch = 2, group = 2;
    for (const int form : {0, 1, 2, 3}) {
        const bool scale_shift = form % 2 == 1, fused = form >= 2;
        if (fused && !on_cpu()) continue;
        Bench bench(fused);
        const auto gamma = bench.source->add_random("n.weight", {channels}, 1.0f);
        const auto beta = bench.source->add_random("n.bias", {channels}, 1.0f);
        const Norm layer = Scope(bench.store.declared(), "").norm("n", channels);
        const auto x = bench.inputs["x"] = fixture::formula("x", static_cast<size_t>(channels * width * height * batch));
        if (scale_shift) {
            bench.inputs["scale"] = fixture::formula("scale", static_cast<size_t>(channels * batch));
            bench.inputs["shift"] = fixture::formula("shift", static_cast<size_t>(channels * batch));
        }
        const float eps = 0.1f;  // large, so that leaving it out shows
        std::vector<double> expected(x.size());
        const size_t plane = width * height, members = plane * group;
        for (size_t g = 0; g < x.size() / members; ++g) {
            double mean = 0, variance = 0;
            for (size_t i = 0; i < members; ++i) mean += x[g * members + i] / static_cast<double>(members);
            for (size_t i = 0; i < members; ++i)
                variance += std::pow(x[g * members + i] - mean, 2) / static_cast<double>(members);
            for (size_t i = 0; i < members; ++i) {
                const size_t at = g * members + i, c = at / plane % channels, row = at / plane;
                double y = (x[at] - mean) / std::sqrt(variance + eps) * gamma[c] + beta[c];
                if (scale_shift) y = y * (1.0 + bench.inputs["scale"][row]) + bench.inputs["shift"][row];
                expected[at] = y * sigmoid(y);
            }
        }
        const auto y = bench.run(
            [&](Ops & ops) {
                GroupNormOptions options{32, eps, Activation::silu, {}, {}};
                const Map in = ops.input_map("x", width, height, channels, batch);
                if (scale_shift)
                    options.scale = ops.input_seq("scale", channels, 1, batch),
                    options.shift = ops.input_seq("shift", channels, 1, batch);
                ops.output("y", ops.group_norm(in, layer, options));
            },
            expected.size());
        CHECK_NEAR(largest_difference(y, expected), 0.0, 1e-5);
    }
}

namespace {

void check_token_layers(bool fused) {
    if (fused && !on_cpu()) return;
    // layer norm -> GEGLU -> linear with residual; erf GELU to float32 accuracy
    const int64_t dim = 24, hidden = 16, length = 7, batch = 2;
    Bench bench(fused);
    const auto gamma = bench.source->add_random("n.weight", {dim}, 1.0f), beta = bench.source->add_random("n.bias", {dim}, 1.0f);
    const auto w1 = bench.source->add_random("a.weight", {2 * hidden, dim, 1, 1}, 0.3f),
               b1 = bench.source->add_random("a.bias", {2 * hidden}, 0.3f);
    const auto w2 = bench.source->add_random("b.weight", {dim, hidden, 1}, 0.3f);  // a Conv1d's rank
    const Scope scope(bench.store.declared(), "");
    const Norm norm = scope.norm("n", dim);
    const Linear in = scope.linear("a", dim, 2 * hidden), out = scope.linear("b", hidden, dim, false);
    const auto x = bench.inputs["x"] = fixture::formula("x", static_cast<size_t>(dim * length * batch));
    std::vector<double> expected;
    for (int64_t token = 0; token < length * batch; ++token) {
        const float * row = x.data() + token * dim;
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < dim; ++i) mean += row[i] / static_cast<double>(dim);
        for (int64_t i = 0; i < dim; ++i) variance += std::pow(row[i] - mean, 2) / static_cast<double>(dim);
        std::vector<double> h(2 * hidden), g(hidden);
        for (int64_t o = 0; o < 2 * hidden; ++o) {
            h[static_cast<size_t>(o)] = b1[static_cast<size_t>(o)];
            for (int64_t i = 0; i < dim; ++i) {
                const double normed =
                    (row[i] - mean) / std::sqrt(variance + 1e-5) * gamma[static_cast<size_t>(i)] + beta[static_cast<size_t>(i)];
                h[static_cast<size_t>(o)] += normed * w1[static_cast<size_t>(o * dim + i)];
            }
        }
        for (size_t i = 0; i < g.size(); ++i) {
            const double gate = h[i + g.size()];
            g[i] = h[i] * gate * 0.5 * (1.0 + std::erf(gate / std::sqrt(2.0)));
        }
        for (int64_t o = 0; o < dim; ++o) {
            double sum = row[o];
            for (int64_t i = 0; i < hidden; ++i) sum += g[static_cast<size_t>(i)] * w2[static_cast<size_t>(o * hidden + i)];
            expected.push_back(sum);
        }
    }
    const auto y = bench.run(
        [&](Ops & ops) {
            const Seq tokens = ops.input_seq("x", dim, length, batch);
            ops.output("y", ops.linear(ops.geglu(ops.layer_norm(tokens, norm), in), out, {Activation::none, tokens}));
        },
        expected.size());
    CHECK_NEAR(largest_difference(y, expected), 0.0, 1e-5);
}

}  // namespace

TEST(token_layers) {
    for (const bool fused : {false, true}) check_token_layers(fused);
}

TEST(activations) {
    const int64_t count = 4000;
    std::vector<float> x(count);
    for (int64_t i = 0; i < count; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i - count / 2) * 0.005f;
    const std::vector<std::pair<Activation, double (*)(double)>> all = {
        {Activation::silu, [](double v) { return v * sigmoid(v); }},
        {Activation::gelu, [](double v) { return 0.5 * v * (1.0 + std::erf(v / std::sqrt(2.0))); }},
        {Activation::quick_gelu, [](double v) { return v * sigmoid(1.702 * v); }},
        {Activation::relu, [](double v) { return v > 0 ? v : 0.0; }},
    };
    for (const auto & [kind, definition] : all) {
        Bench bench;
        bench.inputs["x"] = x;
        std::vector<double> expected;
        for (const float v : x) expected.push_back(definition(v));
        const Activation wanted = kind;
        const auto y = bench.run([&](Ops & ops) { ops.output("y", ops.activation(ops.input_seq("x", 40, 50, 2), wanted)); },
                                 expected.size());
        CHECK_NEAR(largest_difference(y, expected), 0.0, 2e-6);
    }
}

TEST(layouts) {
    // concat, average pooling, upsampling, pixels to tokens and back, head splitting: exact moves of numbers
    const int64_t w = 4, h = 2, c = 3, n = 2;
    Bench bench;
    const auto a = bench.inputs["a"] = fixture::formula("a", static_cast<size_t>(w * h * c * n));
    const auto b = bench.inputs["b"] = fixture::formula("b", static_cast<size_t>(w * h * n));
    std::vector<double> expected;
    for (int64_t row = 0; row < n; ++row) {
        for (int64_t channel = 0; channel <= c; ++channel) {
            const float * plane = channel < c ? a.data() + (row * c + channel) * w * h : b.data() + row * w * h;
            for (int64_t y = 0; y < h; ++y) {
                for (int64_t x = 0; x < w; ++x) {
                    const int64_t px = x / 2 * 2, py = y / 2 * 2;
                    expected.push_back((static_cast<double>(plane[py * w + px]) + plane[py * w + px + 1] +
                                        plane[(py + 1) * w + px] + plane[(py + 1) * w + px + 1]) /
                                       4);
                }
            }
        }
    }
    const auto y = bench.run(
        [&](Ops & ops) {
            const Map both = ops.concat(ops.input_map("a", w, h, c, n), ops.input_map("b", w, h, 1, n));
            const Map blurred = ops.upsample2(ops.avg_pool2(both));
            ops.output("y", ops.to_map(ops.to_seq(blurred), w, h));
        },
        expected.size());
    CHECK_NEAR(largest_difference(y, expected), 0.0, 1e-6);

    Bench tokens;
    const auto first = tokens.inputs["first"] = fixture::formula("first", static_cast<size_t>(c * n));
    const auto rest = tokens.inputs["rest"] = fixture::formula("rest", static_cast<size_t>(c * 4 * n));
    std::vector<double> joined;
    for (int64_t row = 0; row < n; ++row) {
        joined.insert(joined.end(), first.begin() + row * c, first.begin() + (row + 1) * c);
        joined.insert(joined.end(), rest.begin() + row * 4 * c, rest.begin() + (row + 1) * 4 * c);
    }
    const auto sequence = tokens.run(
        [&](Ops & ops) { ops.output("y", ops.concat(ops.input_seq("first", c, 1, n), ops.input_seq("rest", c, 4, n))); },
        joined.size());
    CHECK_NEAR(largest_difference(sequence, joined), 0.0, 0.0);

    const int heads = 3;
    const int64_t d = 2, length = 5;
    for (size_t part = 0; part < 3; ++part) {
        Bench split;
        const auto x = split.inputs["x"] = fixture::formula("x", static_cast<size_t>(3 * heads * d * length * n));
        std::vector<double> wanted;
        for (int64_t token = 0; token < length * n; ++token) {
            for (int64_t head = 0; head < heads; ++head) {
                for (int64_t i = 0; i < d; ++i)
                    wanted.push_back(
                        x[static_cast<size_t>(token * 3 * heads * d + head * 3 * d + static_cast<int64_t>(part) * d + i)]);
            }
        }
        const auto got = split.run(
            [&](Ops & ops) { ops.output("y", ops.split_heads_qkv(ops.input_seq("x", 3 * heads * d, length, n), heads)[part]); },
            wanted.size());
        CHECK_NEAR(largest_difference(got, wanted), 0.0, 0.0);
    }
}

// What adapters do to tokens: gains, blocks that follow each other or come in two pieces, and sums of groups of channels.
TEST(transforms) {
    for (const bool fused : {false, true}) {
        if (fused && !on_cpu()) continue;
        for (const int64_t distance : {0, 12}) {
            Bench bench(fused);
            const int64_t dim = 48, size = 8, length = 7, batch = 2, groups = 3, sums = 2, width = dim / groups;
            const auto w = bench.source->add_random("blocks", {dim, size}, 0.3f),
                       m = bench.source->add_random("m", {sums, groups}, 1);
            const auto gain = bench.source->add_random("gain", {dim}, 1), bias = bench.source->add_random("bias", {dim}, 1);
            const Scope scope(bench.store.declared(), "");
            const Parameter *gains = scope.table("gain", {dim}), *biases = scope.table("bias", {dim}),
                            *matrix = scope.table("m", {sums, groups});
            const BlockProduct product{scope.table("blocks", {dim, size}), {size, distance}};
            const auto place = [&](int64_t block, int64_t i) { return static_cast<size_t>(product.order.position(block, i)); };
            const auto x = bench.inputs["x"] = fixture::formula("x", static_cast<size_t>(dim * length * batch));
            std::vector<double> expected;
            for (int64_t token = 0; token < length * batch; ++token) {
                std::vector<double> in, out;
                for (size_t i = 0; i < static_cast<size_t>(dim); ++i) {
                    in.push_back(static_cast<double>(x[static_cast<size_t>(token * dim) + i]) * gain[i] + bias[i]);
                    out.push_back(in[i] + bias[i]);
                }
                for (int64_t b = 0; b < dim / size; ++b)
                    for (int64_t i = 0; i < size; ++i)
                        for (int64_t j = 0; j < size; ++j)
                            out[place(b, i)] +=
                                static_cast<double>(w[static_cast<size_t>((b * size + i) * size + j)]) * in[place(b, j)];
                for (int64_t i = 0; i < sums * width; ++i) {
                    double sum = out[static_cast<size_t>(i)];
                    for (int64_t j = 0; j < groups; ++j)
                        sum += static_cast<double>(m[static_cast<size_t>(i / width * groups + j)]) *
                               out[static_cast<size_t>(j * width + i % width)];
                    expected.push_back(sum);
                }
            }
            const auto y = bench.run(
                [&](Ops & ops) {
                    const Seq z =
                        ops.add_blocks(ops.scaled(ops.input_seq("x", dim, length, batch), gains, biases), product, biases);
                    const Seq folded = ops.folded(ops.folded(z, width), dim);
                    ops.output("y", ops.mixed(folded, matrix, ops.slice(z, 0, sums * width)));
                },
                expected.size());
            CHECK_NEAR(largest_difference(y, expected), 0.0, 1e-5);
        }
    }
}

TEST(embeddings) {
    Bench bench;
    const auto table = bench.source->add_random("e.weight", {10, 8}, 1.0f),
               positions = bench.source->add_random("p", {6, 8}, 1.0f);
    const Scope scope(bench.store.declared(), "");
    const Embedding tokens = scope.embedding("e", 10, 8);
    const Parameter * rows = scope.table("p", {6, 8});
    bench.ids = {9, 0, 3, 3, 1, 8, 7, 2};
    std::vector<double> expected;
    for (size_t i = 0; i < bench.ids.size(); ++i) {
        for (size_t c = 0; c < 8; ++c)
            expected.push_back(static_cast<double>(table[static_cast<size_t>(bench.ids[i]) * 8 + c]) + positions[i % 4 * 8 + c]);
    }
    const auto y =
        bench.run([&](Ops & ops) { ops.output("y", ops.add_positions(ops.embed(ops.input_ids("ids", 4, 2), tokens), rows)); },
                  expected.size());
    CHECK_NEAR(largest_difference(y, expected), 0.0, 1e-6);
}

TEST(timestep_sinusoid) {
    float out[8];
    timestep_embedding(321.75, 8, out);
    for (int i = 0; i < 4; ++i) {
        const double angle = 321.75 * std::pow(10000.0, -i / 4.0);
        CHECK_NEAR(out[i], std::cos(angle), 1e-6);
        CHECK_NEAR(out[4 + i], std::sin(angle), 1e-6);
    }
}
