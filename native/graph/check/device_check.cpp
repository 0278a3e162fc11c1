#include "graph/check/device_check.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include "core/json.h"
#include "graph/check/known_values.h"
#include "graph/convert_rows.h"
#include "graph/home.h"
#include "graph/runner.h"

namespace latent::graph {
namespace {

using Values = std::vector<double>;

/// One graph: the check declares weights and inputs, then says how it is built and what it should give.
struct Check {
    Check(const DevicePtr & on, DType type) : device(on), weights(type), store(on, "check") {}

    DevicePtr device;
    DType weights;  // of matrices
    WeightStore store;
    std::shared_ptr<KnownTensors> source = std::make_shared<KnownTensors>();
    std::map<std::string, std::vector<float>> inputs;
    std::vector<int32_t> ids;
    GraphBuilder build;
    Values expected;

    Scope scope() { return {store.declared(), ""}; }
    Values vector(const std::string & name, int64_t count, double scale) { return table(name, {count}, scale); }
    Values table(const std::string & name, const std::vector<int64_t> & shape, double scale) {
        const std::vector<float> & values = source->add(name, shape, scale);
        return {values.begin(), values.end()};
    }
    /// The numbers that the device should compute with: those of `weights`.
    Values matrix(const std::string & name, const std::vector<int64_t> & shape, double scale) {
        std::vector<float> values = source->add(name, shape, scale);
        const int64_t rows = shape[0], inner = static_cast<int64_t>(values.size()) / rows;
        const int64_t block = dtype_block(weights);
        std::vector<uint8_t> stored(values.size() / static_cast<size_t>(block) * static_cast<size_t>(dtype_block_bytes(weights)));
        convert_rows(DType::f32, values.data(), weights, stored.data(), rows, inner, 1);
        rows_to_f32(weights, stored.data(), 0, rows, inner, values.data());
        return {values.begin(), values.end()};
    }
    Values input(const std::string & name, int64_t count) {
        const std::vector<float> & values = inputs[name] = known_values(name, static_cast<size_t>(count));
        return {values.begin(), values.end()};
    }
};

size_t at(int64_t index) {
    return static_cast<size_t>(index);
}

double silu(double x) {
    return x / (1 + std::exp(-x));
}

double gelu(double x) {
    return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
}

double relative_error(const std::vector<float> & actual, const Values & expected) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
        difference += std::pow(actual[i] - expected[i], 2);
        size += expected[i] * expected[i];
    }
    const double error = std::sqrt(difference / size);
    return std::isfinite(error) ? error : INFINITY;
}

// ---- the checks

void linear(Check & c, bool scaled) {
    const int64_t in = 256, out = 96, tokens = 80;
    const Values w = c.matrix("a.weight", {out, in}, 1 / std::sqrt(256.0)), b = c.vector("a.bias", out, 0.5);
    const Values x = c.input("x", in * tokens), residual = c.input("residual", out * tokens);
    const Values gain = scaled ? c.vector("gain", out, 1) : Values(at(out), 1.0);
    for (int64_t t = 0; t < tokens; ++t)
        for (int64_t o = 0; o < out; ++o) {
            double sum = 0;
            for (int64_t i = 0; i < in; ++i) sum += w[at(o * in + i)] * x[at(t * in + i)];
            c.expected.push_back(gain[at(o)] * sum + b[at(o)] + residual[at(t * out + o)]);
        }
    Linear layer = c.scope().linear("a", in, out);
    if (scaled) layer.gain = c.scope().table("gain", {out});
    c.build = [=](Ops & ops) {
        const Seq seq = ops.input_seq("x", in, tokens, 1), add = ops.input_seq("residual", out, tokens, 1);
        ops.output("y", ops.linear(seq, layer, {Activation::none, add}));
    };
}

/// [in, height, width] to [out, ...]: the sum over the window, without bias.
double window(const Values & w, const Values & x, int64_t o, int64_t in, int64_t width, int64_t height, int64_t px, int64_t py) {
    double sum = 0;
    for (int64_t i = 0; i < in; ++i)
        for (int64_t k = 0; k < 9; ++k) {
            const int64_t sx = px + k % 3 - 1, sy = py + k / 3 - 1;
            if (sx < 0 || sx >= width || sy < 0 || sy >= height) continue;
            sum += w[at((o * in + i) * 9 + k)] * x[at((i * height + sy) * width + sx)];
        }
    return sum;
}

void conv(Check & c, int stride, bool upsample, bool scaled = false) {
    const int64_t in = 256, out = 48, width = 12, height = 8;
    const Values w = c.matrix("c.weight", {out, in, 3, 3}, 1 / 48.0), b = c.vector("c.bias", out, 0.5);
    Values x = c.input("x", in * width * height);
    const Values add = c.input("add", out), gain = scaled ? c.vector("gain", out, 1) : Values(at(out), 1.0);
    int64_t iw = width, ih = height;
    if (upsample) {
        iw *= 2, ih *= 2;
        Values large(at(in * iw * ih));
        for (int64_t i = 0; i < in * ih; ++i)
            for (int64_t j = 0; j < iw; ++j) large[at(i * iw + j)] = x[at((i / ih * height + i % ih / 2) * width + j / 2)];
        x = std::move(large);
    }
    for (int64_t o = 0; o < out; ++o)
        for (int64_t y = 0; y < ih; y += stride)
            for (int64_t px = 0; px < iw; px += stride)
                c.expected.push_back(b[at(o)] + add[at(o)] + gain[at(o)] * window(w, x, o, in, iw, ih, px, y));
    Conv layer = c.scope().conv("c", in, out, 3);
    if (scaled) layer.gain = c.scope().table("gain", {out});
    c.build = [=](Ops & ops) {
        ConvOptions options;
        options.stride = stride, options.upsample = upsample;
        const Map map = ops.input_map("x", width, height, in, 1);
        options.channel_add = ops.input_seq("add", out, 1, 1);
        ops.output("y", ops.conv(map, layer, options));
    };
}

/// (x - mean) / deviation of `count` values from `first`.
Values normalised(const Values & x, size_t first, size_t count, double eps) {
    double mean = 0, variance = 0;
    for (size_t i = 0; i < count; ++i) mean += x[first + i] / static_cast<double>(count);
    for (size_t i = 0; i < count; ++i) variance += std::pow(x[first + i] - mean, 2) / static_cast<double>(count);
    Values result;
    for (size_t i = 0; i < count; ++i) result.push_back((x[first + i] - mean) / std::sqrt(variance + eps));
    return result;
}

void group_norm(Check & c) {
    const int64_t channels = 64, width = 12, height = 10, plane = width * height;
    const Values gamma = c.vector("n.weight", channels, 1), beta = c.vector("n.bias", channels, 1);
    const Values x = c.input("x", channels * plane);
    for (int64_t group = 0; group < 32; ++group) {
        const Values part = normalised(x, at(group * 2 * plane), at(2 * plane), 1e-5);
        for (int64_t i = 0; i < 2 * plane; ++i) {
            const size_t channel = at(group * 2 + i / plane);
            c.expected.push_back(silu(part[at(i)] * gamma[channel] + beta[channel]));
        }
    }
    const Norm layer = c.scope().norm("n", channels);
    c.build = [=](Ops & ops) {
        const Map map = ops.input_map("x", width, height, channels, 1);
        ops.output("y", ops.group_norm(map, layer, {32, 1e-5f, Activation::silu, {}, {}}));
    };
}

void layer_norm(Check & c) {
    const int64_t dim = 320, tokens = 40;
    const Values gamma = c.vector("n.weight", dim, 1), beta = c.vector("n.bias", dim, 1), x = c.input("x", dim * tokens);
    for (int64_t t = 0; t < tokens; ++t) {
        const Values part = normalised(x, at(t * dim), at(dim), 1e-5);
        for (int64_t i = 0; i < dim; ++i) c.expected.push_back(part[at(i)] * gamma[at(i)] + beta[at(i)]);
    }
    const Norm layer = c.scope().norm("n", dim);
    c.build = [=](Ops & ops) { ops.output("y", ops.layer_norm(ops.input_seq("x", dim, tokens, 1), layer)); };
}

void attention(Check & c, int64_t d, int64_t length, int64_t keys, bool causal) {
    const int heads = 2;
    const int64_t dim = heads * d;
    const Values q = c.input("q", dim * length), k = c.input("k", dim * keys), v = c.input("v", dim * keys);
    c.expected.resize(at(dim * length));
    for (int64_t h = 0; h < heads; ++h)
        for (int64_t i = 0; i < length; ++i) {
            const int64_t seen = causal ? i + 1 : keys;
            Values weight(at(seen));
            double sum = 0;
            for (int64_t j = 0; j < seen; ++j) {
                double dot = 0;
                for (int64_t e = 0; e < d; ++e) dot += q[at(i * dim + h * d + e)] * k[at(j * dim + h * d + e)];
                sum += weight[at(j)] = std::exp(dot / std::sqrt(static_cast<double>(d)));
            }
            for (int64_t e = 0; e < d; ++e) {
                double value = 0;
                for (int64_t j = 0; j < seen; ++j) value += weight[at(j)] / sum * v[at(j * dim + h * d + e)];
                c.expected[at(i * dim + h * d + e)] = value;
            }
        }
    c.build = [=](Ops & ops) {
        const Seq sq = ops.input_seq("q", dim, length, 1), sk = ops.input_seq("k", dim, keys, 1),
                  sv = ops.input_seq("v", dim, keys, 1);
        ops.output("y", ops.attention(sq, sk, sv, {heads, causal}));
    };
}

void gate(Check & c) {
    const int64_t dim = 96, tokens = 50;
    const Values x = c.input("x", 2 * dim * tokens);
    for (int64_t t = 0; t < tokens; ++t)
        for (int64_t i = 0; i < dim; ++i) c.expected.push_back(x[at(t * 2 * dim + i)] * gelu(x[at(t * 2 * dim + dim + i)]));
    c.build = [=](Ops & ops) { ops.output("y", ops.gate(ops.input_seq("x", 2 * dim, tokens, 1))); };
}

void activation(Check & c, Activation kind, double (*definition)(double)) {
    const int64_t dim = 64, tokens = 50;
    for (const double x : c.input("x", dim * tokens)) c.expected.push_back(definition(x));
    c.build = [=](Ops & ops) { ops.output("y", ops.activation(ops.input_seq("x", dim, tokens, 1), kind)); };
}

/// Concatenation, pooling, upsampling, and pixels as tokens and back.
void layouts(Check & c) {
    const int64_t width = 12, height = 8, channels = 6, plane = width * height;
    Values x = c.input("x", 4 * plane);
    const Values more = c.input("more", 2 * plane);
    x.insert(x.end(), more.begin(), more.end());
    for (int64_t i = 0; i < channels * height; ++i)
        for (int64_t j = 0; j < width; ++j) {
            const double * corner = x.data() + i / 2 * 2 * width + j / 2 * 2;
            c.expected.push_back((corner[0] + corner[1] + corner[width] + corner[width + 1]) / 4);
        }
    c.build = [=](Ops & ops) {
        const Map first = ops.input_map("x", width, height, 4, 1), second = ops.input_map("more", width, height, 2, 1);
        const Map both = ops.upsample2(ops.avg_pool2(ops.concat(first, second)));
        ops.output("y", ops.to_map(ops.to_seq(both), width, height));
    };
}

void embedding(Check & c) {
    const int64_t rows = 50, dim = 64, tokens = 20;
    const Values table = c.matrix("e.weight", {rows, dim}, 1), positions = c.table("p", {tokens, dim}, 1);
    for (int64_t t = 0; t < tokens; ++t) {
        c.ids.push_back(static_cast<int32_t>(t * 7 % rows));
        for (int64_t i = 0; i < dim; ++i) c.expected.push_back(table[at(c.ids.back() * dim + i)] + positions[at(t * dim + i)]);
    }
    const Embedding layer = c.scope().embedding("e", rows, dim);
    const Parameter * rows_of_positions = c.scope().table("p", {tokens, dim});
    c.build = [=](Ops & ops) {
        ops.output("y", ops.add_positions(ops.embed(ops.input_ids("ids", tokens, 1), layer), rows_of_positions));
    };
}

// What adapters do beside the weights.

void input_gain(Check & c) {
    const int64_t dim = 100, tokens = 50;
    const Values gain = c.vector("gain", dim, 1), shift = c.vector("shift", dim, 1), x = c.input("x", dim * tokens);
    for (int64_t i = 0; i < dim * tokens; ++i) c.expected.push_back(gain[at(i % dim)] * x[at(i)] + shift[at(i % dim)]);
    const Parameter *gains = c.scope().table("gain", {dim}), *shifts = c.scope().table("shift", {dim});
    c.build = [=](Ops & ops) { ops.output("y", ops.scaled(ops.input_seq("x", dim, tokens, 1), gains, shifts)); };
}

/// x + W x + bias, W having blocks.
void rotation(Check & c, int64_t dim, const BlockOrder & order) {
    const int64_t size = order.size, tokens = 70;
    const Values w = c.matrix("r.weight", {dim, size}, 1 / std::sqrt(static_cast<double>(size))), b = c.vector("bias", dim, 0.5);
    const Values x = c.input("x", dim * tokens);
    c.expected = x;
    for (int64_t t = 0; t < tokens; ++t)
        for (int64_t row = 0; row < dim; ++row) {
            const int64_t block = row / size, channel = order.position(block, row % size);
            double & sum = c.expected[at(t * dim + channel)];
            for (int64_t i = 0; i < size; ++i) sum += w[at(row * size + i)] * x[at(t * dim + order.position(block, i))];
            sum += b[at(channel)];
        }
    const BlockProduct blocks{c.scope().linear("r", size, dim, false).weight, order};
    const Parameter * bias = c.scope().table("bias", {dim});
    c.build = [=](Ops & ops) { ops.output("y", ops.add_blocks(ops.input_seq("x", dim, tokens, 1), blocks, bias)); };
}

/// W x + (A x B) x, the Kronecker product as its two factors.
void kronecker(Check & c) {
    const int64_t rows = 6, columns = 4, out = 16, in = 24, tokens = 40;
    const Values w = c.matrix("w.weight", {rows * out, columns * in}, 0.1), b = c.matrix("b.weight", {out, in}, 0.2),
                 a = c.table("a", {rows, columns}, 0.5), x = c.input("x", columns * in * tokens);
    for (int64_t t = 0; t < tokens; ++t)
        for (int64_t o = 0; o < rows * out; ++o) {
            double sum = 0;
            for (int64_t i = 0; i < columns * in; ++i)
                sum += (w[at(o * columns * in + i)] + a[at(o / out * columns + i / in)] * b[at(o % out * in + i % in)]) *
                       x[at(t * columns * in + i)];
            c.expected.push_back(sum);
        }
    const Linear whole = c.scope().linear("w", columns * in, rows * out, false), second = c.scope().linear("b", in, out, false);
    const Parameter * first = c.scope().table("a", {rows, columns});
    c.build = [=](Ops & ops) {
        const Seq seq = ops.input_seq("x", columns * in, tokens, 1);
        LinearOptions options;
        options.residual = ops.mixed(ops.folded(ops.linear(ops.folded(seq, in), second), columns * out), first, {});
        ops.output("y", ops.linear(seq, whole, options));
    };
}

struct Row {
    std::string name;
    DType weights;
    std::function<void(Check &)> declare;
    bool adapters = false;  // only of homes that transform what layers read and write
};

const std::vector<Row> & rows() {
    static const std::vector<Row> all = [] {
        std::vector<Row> list;
        for (const DType type : {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0, DType::q4_k}) {
            const std::string of = std::string(" ") + dtype_name(type);
            list.push_back({"linear" + of, type, [](Check & c) { linear(c, false); }, false});
            list.push_back({"conv" + of, type, [](Check & c) { conv(c, 1, false); }, false});
        }
        const auto add = [&](const char * name, std::function<void(Check &)> declare) {
            list.push_back({name, DType::f32, std::move(declare), false});
        };
        const auto add_of_adapters = [&](const char * name, std::function<void(Check &)> declare) {
            list.push_back({name, DType::f32, std::move(declare), true});
        };
        add("conv stride 2", [](Check & c) { conv(c, 2, false); });
        add("conv upsampled", [](Check & c) { conv(c, 1, true); });
        add("group norm", group_norm);
        add("layer norm", layer_norm);
        add("attention 40", [](Check & c) { attention(c, 40, 64, 77, false); });
        add("attention 64", [](Check & c) { attention(c, 64, 64, 64, false); });
        add("attention 160", [](Check & c) { attention(c, 160, 16, 77, false); });
        add("attention 512", [](Check & c) { attention(c, 512, 24, 24, false); });
        add("attention causal", [](Check & c) { attention(c, 64, 77, 77, true); });
        add("gated gelu", gate);
        add("silu", [](Check & c) { activation(c, Activation::silu, silu); });
        add("gelu", [](Check & c) { activation(c, Activation::gelu, gelu); });
        add("quick gelu",
            [](Check & c) { activation(c, Activation::quick_gelu, [](double x) { return x / (1 + std::exp(-1.702 * x)); }); });
        add("layouts", layouts);
        add("embedding", embedding);
        add_of_adapters("output gain", [](Check & c) { linear(c, true); });
        add_of_adapters("output gain conv", [](Check & c) { conv(c, 1, false, true); });
        add_of_adapters("input gain", input_gain);
        add_of_adapters("rotation 40", [](Check & c) { rotation(c, 120, {40, 0}); });
        add_of_adapters("rotation 4", [](Check & c) { rotation(c, 48, {4, 0}); });
        add_of_adapters("butterfly 16", [](Check & c) { rotation(c, 128, {16, 32}); });
        add_of_adapters("kronecker", kronecker);
        return list;
    }();
    return all;
}

/// Rounding of operands to 16 bits is below 0.2 %, in bfloat16 below 1 %; of activations to 8 bits, next to block types, about
/// 1 %. A wrong operation is off by tens of percent.
double bound_of(const Device & device, DType weights, bool exact) {
    if (exact) return 1e-5;
    if (dtype_is_quantised(weights)) return 3e-2;
    return device.kind() == "cpu" || device.kind() == "cuda" || weights == DType::bf16 ? 1e-2 : 3e-3;
}

const Row & row_of(const std::string & name) {
    const auto row = std::find_if(rows().begin(), rows().end(), [&](const Row & each) { return each.name == name; });
    if (row == rows().end()) throw Error(ErrorCode::invalid_argument, "There is no check \"" + name + "\"");
    return *row;
}

double milliseconds(const std::function<void()> & work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

std::vector<std::string> check_names() {
    std::vector<std::string> names;
    for (const Row & row : rows()) names.push_back(row.name);
    return names;
}

const char * first_check() {
    return "linear f16";
}

bool home_supports(const Home & home, const std::string & name) {
    return home.transforms() || !row_of(name).adapters;
}

CheckResult check_operation(const DevicePtr & device, const std::string & name, const JobContext & job) {
    const Row & row = row_of(name);
    const Home & home = home_for(device->kind());
    if (!home_supports(home, name)) {
        throw Error(ErrorCode::device, "Adapters replace the weights of layers on this device",
                    Json{{"device", device->name()}, {"skipped", name}}.dump());
    }
    const bool exact = row.weights == DType::f32 && home.is_exact(*device);
    Check check(device, row.weights);
    row.declare(check);
    check.source->finish();
    check.store.plan(check.source, {exact ? Precision::exact : Precision::fast, row.weights});
    check.store.load(job);
    Runner runner(device, check.store, "the check");
    CheckResult result;
    result.name = name, result.bound = bound_of(*device, row.weights, exact);
    std::vector<float> y(check.expected.size());
    const auto once = [&] {
        Graph & graph = runner.prepare(name, check.build);
        for (const auto & [input, values] : check.inputs) graph.set_input(input, Span<const float>(values));
        if (!check.ids.empty()) graph.set_input("ids", Span<const int32_t>(check.ids));
        graph.compute(*job.cancel);
        graph.get_output("y", y);
    };
    result.first = milliseconds(once);
    result.error = relative_error(y, check.expected);
    result.milliseconds = milliseconds(once);
    result.error = std::max(result.error, relative_error(y, check.expected));
    return result;
}

}  // namespace latent::graph
