#include "graph/ops_cpu.h"

#include <algorithm>
#include <array>

#include "kernels/attention.h"
#include "kernels/matmul.h"
#include "kernels/vectors.h"

namespace latent::graph {
namespace {

using kernels::Gate;
using kernels::Part;

Gate gate_of(Activation kind) {
    switch (kind) {
        case Activation::silu: return Gate::silu;
        case Activation::gelu: return Gate::gelu;
        case Activation::quick_gelu: return Gate::quick_gelu;
        case Activation::none: break;
    }
    return Gate::none;
}

void row_to_float(ggml_type type, const void * row, float * out, int64_t k) {
    ggml_get_type_traits(type)->to_float(row, out, k);
}

/// A reader per block type: kernels know no ggml, and a plain function pointer carries no type.
template <ggml_type kType>
void read_row(const void * row, float * out, int64_t k) {
    row_to_float(kType, row, out, k);
}

kernels::Matrix matrix(const ggml_tensor * w) {
    kernels::Matrix m;
    m.data = w->data;
    m.k = w->ne[0];
    m.rows = w->ne[1];
    m.row_bytes = static_cast<int64_t>(w->nb[1]);
    m.type = kernels::Element::other;
    switch (w->type) {
        case GGML_TYPE_F32: m.type = kernels::Element::f32; break;
        case GGML_TYPE_F16: m.type = kernels::Element::f16; break;
        case GGML_TYPE_BF16: m.type = kernels::Element::bf16; break;
        case GGML_TYPE_Q4_0: m.to_float = read_row<GGML_TYPE_Q4_0>; break;
        case GGML_TYPE_Q4_1: m.to_float = read_row<GGML_TYPE_Q4_1>; break;
        case GGML_TYPE_Q5_0: m.to_float = read_row<GGML_TYPE_Q5_0>; break;
        case GGML_TYPE_Q5_1: m.to_float = read_row<GGML_TYPE_Q5_1>; break;
        case GGML_TYPE_Q8_0: m.to_float = read_row<GGML_TYPE_Q8_0>; break;
        case GGML_TYPE_Q2_K: m.to_float = read_row<GGML_TYPE_Q2_K>; break;
        case GGML_TYPE_Q3_K: m.to_float = read_row<GGML_TYPE_Q3_K>; break;
        case GGML_TYPE_Q4_K: m.to_float = read_row<GGML_TYPE_Q4_K>; break;
        case GGML_TYPE_Q5_K: m.to_float = read_row<GGML_TYPE_Q5_K>; break;
        case GGML_TYPE_Q6_K: m.to_float = read_row<GGML_TYPE_Q6_K>; break;
        default: break;  // supported() keeps others out
    }
    return m;
}

bool supported(const Parameter * w) {
    switch (w->tensor->type) {
        case GGML_TYPE_F32:
        case GGML_TYPE_F16:
        case GGML_TYPE_BF16:
        case GGML_TYPE_Q4_0:
        case GGML_TYPE_Q4_1:
        case GGML_TYPE_Q5_0:
        case GGML_TYPE_Q5_1:
        case GGML_TYPE_Q8_0:
        case GGML_TYPE_Q2_K:
        case GGML_TYPE_Q3_K:
        case GGML_TYPE_Q4_K:
        case GGML_TYPE_Q5_K:
        case GGML_TYPE_Q6_K: return true;
        default: return false;
    }
}

const float * values(const ggml_tensor * t) {
    return static_cast<const float *>(t->data);
}

/// Index of an optional source of a node, -1 when absent.
struct Sources {
    std::vector<ggml_tensor *> all;
    int add(ggml_tensor * t) {
        if (!t) return -1;
        all.push_back(t);
        return static_cast<int>(all.size()) - 1;
    }
};

const float * source(const ggml_tensor * node, int index) {
    return index < 0 ? nullptr : values(node->src[index]);
}

struct ConvNode {
    const kernels::TileSet * tiles;
    kernels::ConvShape shape;
    int bias = -1, channel_add = -1, residual = -1;

    void run(ggml_tensor * out, Part part) const {
        const kernels::ConvEpilogue epilogue{source(out, bias), source(out, channel_add), source(out, residual)};
        kernels::conv2d(*tiles, shape, values(out->src[0]), matrix(out->src[1]), epilogue, static_cast<float *>(out->data), part);
    }
};

struct LinearNode {
    const kernels::TileSet * tiles;
    Gate activation = Gate::none;
    int bias = -1, residual = -1;

    void run(ggml_tensor * out, Part part) const {
        const ggml_tensor * x = out->src[0];
        const kernels::LinearEpilogue epilogue{source(out, bias), activation, source(out, residual)};
        kernels::linear(*tiles, values(x), ggml_nrows(x), x->ne[0], matrix(out->src[1]), epilogue,
                        static_cast<float *>(out->data), part);
    }
};

struct GegluNode {
    void run(ggml_tensor * out, Part part) const {
        kernels::geglu(kernels::vector_set(), values(out->src[0]), ggml_nrows(out), out->ne[0], static_cast<float *>(out->data),
                       part);
    }
};

struct GroupNormNode {
    kernels::GroupNormShape shape;
    bool modulated = false;

    void run(ggml_tensor * out, Part part) const {
        kernels::group_norm(kernels::vector_set(), shape, values(out->src[0]), values(out->src[1]), values(out->src[2]),
                            modulated ? values(out->src[3]) : nullptr, modulated ? values(out->src[4]) : nullptr,
                            static_cast<float *>(out->data), part);
    }
};

struct LayerNormNode {
    float eps;

    void run(ggml_tensor * out, Part part) const {
        kernels::layer_norm(kernels::vector_set(), values(out->src[0]), ggml_nrows(out), out->ne[0], eps, values(out->src[1]),
                            values(out->src[2]), static_cast<float *>(out->data), part);
    }
};

struct AttentionNode {
    const kernels::TileSet * tiles;
    kernels::AttentionShape shape;

    void run(ggml_tensor * out, Part part) const {
        kernels::attention(*tiles, shape, values(out->src[0]), values(out->src[1]), values(out->src[2]),
                           static_cast<float *>(out->data), part);
    }
};

}  // namespace

OpsCpu::OpsCpu(ggml_context * nodes, ggml_context * leaves, ggml_cgraph * graph, const Runner::Limits & limits, Device & device,
               kernels::Arithmetic arithmetic)
    : OpsGgml(nodes, leaves, graph, true, limits), device_(device), arithmetic_(arithmetic) {}

template <typename Node>
ggml_tensor * OpsCpu::node(Node data, const std::array<int64_t, 4> & ne, std::vector<ggml_tensor *> sources) {
    struct Held {
        Node node;
        Device * device;
        int parts;
    };
    constexpr int64_t kSmall = 8192;  // values; below this the others' waking costs more than they help
    const int threads = device_.pool().threads();
    const int parts = threads == 1 || ne[0] * ne[1] * ne[2] * ne[3] < kSmall ? 1 : 2 * threads;
    auto held = std::make_shared<Held>(Held{data, &device_, parts});
    owned_.push_back(held);
    const auto run = [](ggml_tensor * out, int, int, void * user) {
        const Held & work = *static_cast<const Held *>(user);
        try {
            work.device->pool().run(work.parts, [&](int part) { work.node.run(out, {part, work.parts}); });
        } catch (const std::exception & e) {
            work.device->fail_node(e.what());
        }
    };
    return ggml_custom_4d(nodes_, GGML_TYPE_F32, ne[0], ne[1], ne[2], ne[3], sources.data(), static_cast<int>(sources.size()),
                          run, 1, held.get());
}

ggml_tensor * OpsCpu::contiguous(int id) {
    ggml_tensor * t = tensor(id);
    return ggml_is_contiguous(t) ? t : ggml_cont(nodes_, t);
}

/// Layers at the rim of a network (few channels in or out) stay in float32: little work, and their error is the result's.
const kernels::TileSet & OpsCpu::tiles(int64_t in, int64_t out) const {
    return kernels::tile_set(in < 16 || out < 16 ? kernels::Arithmetic::f32 : arithmetic_);
}

Map OpsCpu::conv(Map x, const Conv & w, const ConvOptions & options) {
    if (!supported(w.weight) || x.channels != w.in) return OpsGgml::conv(x, w, options);
    room(16);
    kernels::ConvShape s;
    s.n = x.batch, s.in = x.channels, s.height = x.height, s.width = x.width, s.out = w.out;
    s.kernel = w.kernel, s.stride = options.stride, s.upsample = options.upsample;
    const int64_t low = options.padding == Padding::same ? (w.kernel - 1) / 2 : 0;
    const int64_t both = options.padding == Padding::same ? 2 * low : options.padding == Padding::right_bottom ? 1 : 0;
    const int64_t scale = options.upsample ? 2 : 1;
    s.crop_width = options.crop_width, s.crop_height = options.crop_height;
    const int64_t width = s.crop_width ? s.crop_width : x.width * scale;
    const int64_t height = s.crop_height ? s.crop_height : x.height * scale;
    s.pad_left = s.pad_top = static_cast<int>(low);
    s.out_width = (width + both - w.kernel) / options.stride + 1;
    s.out_height = (height + both - w.kernel) / options.stride + 1;
    flops_ += 2.0 * static_cast<double>(w.weight->inner()) * static_cast<double>(s.out * s.n * s.out_width * s.out_height);

    ConvNode data{&tiles(w.in, w.out), s};
    Sources sources;
    sources.add(contiguous(x.id));
    sources.add(w.weight->tensor);
    data.bias = sources.add(w.bias ? w.bias->tensor : nullptr);
    data.channel_add = sources.add(options.channel_add ? contiguous(options.channel_add.id) : nullptr);
    data.residual = sources.add(options.residual ? contiguous(options.residual.id) : nullptr);
    return map(node(data, {s.out_width, s.out_height, s.out, s.n}, sources.all));
}

Map OpsCpu::group_norm(Map x, const Norm & w, const GroupNormOptions & options) {
    room(8);
    GroupNormNode data;
    data.shape.n = x.batch, data.shape.channels = x.channels, data.shape.pixels = x.width * x.height;
    data.shape.groups = options.groups, data.shape.eps = options.eps, data.shape.gate = gate_of(options.activation);
    data.modulated = static_cast<bool>(options.scale);
    std::vector<ggml_tensor *> sources = {contiguous(x.id), w.weight->tensor, w.bias->tensor};
    if (data.modulated) sources.insert(sources.end(), {contiguous(options.scale.id), contiguous(options.shift.id)});
    return map(node(data, {x.width, x.height, x.channels, x.batch}, sources));
}

Seq OpsCpu::linear(Seq x, const Linear & w, const LinearOptions & options) {
    constexpr int64_t kFewTokens = 8;  // a tile has 64 columns: ggml's dot products are better for a handful
    if (!supported(w.weight) || x.length * x.batch < kFewTokens || x.dim != w.weight->inner())
        return OpsGgml::linear(x, w, options);
    room(16);
    flops_ += 2.0 * static_cast<double>(w.weight->inner()) * static_cast<double>(w.out * x.length * x.batch);
    LinearNode data{&tiles(w.in, w.out), gate_of(options.activation)};
    Sources sources;
    sources.add(contiguous(x.id));
    sources.add(w.weight->tensor);
    data.bias = sources.add(w.bias ? w.bias->tensor : nullptr);
    data.residual = sources.add(options.residual ? contiguous(options.residual.id) : nullptr);
    return seq(node(data, {w.out, x.length, x.batch, 1}, sources.all));
}

Seq OpsCpu::geglu(Seq x, const Linear & w) {
    const Seq both = linear(x, w, {});
    room(4);
    return seq(node(GegluNode{}, {both.dim / 2, both.length, both.batch, 1}, {contiguous(both.id)}));
}

Seq OpsCpu::layer_norm(Seq x, const Norm & w, float eps) {
    room(8);
    return seq(node(LayerNormNode{eps}, {x.dim, x.length, x.batch, 1}, {contiguous(x.id), w.weight->tensor, w.bias->tensor}));
}

Seq OpsCpu::attention(Seq q, Seq k, Seq v, const AttentionOptions & options) {
    if (options.causal || q.dim % options.heads != 0 || k.dim != q.dim || v.dim != q.dim || k.length != v.length ||
        k.batch != q.batch) {
        return OpsGgml::attention(q, k, v, options);
    }
    room(8);
    flops_ += 4.0 * static_cast<double>(q.dim) * static_cast<double>(q.length) * static_cast<double>(k.length) *
              static_cast<double>(q.batch);
    AttentionNode data{&kernels::tile_set(arithmetic_), {}};
    data.shape.batch = q.batch, data.shape.heads = options.heads, data.shape.dim = q.dim / options.heads;
    data.shape.queries = q.length, data.shape.keys = k.length;
    thread_scratch_ = std::max(thread_scratch_, static_cast<uint64_t>(kernels::attention_scratch(*data.tiles, data.shape)));
    return seq(node(data, {q.dim, q.length, q.batch, 1}, {contiguous(q.id), contiguous(k.id), contiguous(v.id)}));
}

}  // namespace latent::graph
