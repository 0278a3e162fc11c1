#include "graph/fused/ops_cpu.h"

#include <algorithm>

#include "graph/fused/custom_node.h"

namespace latent::graph {
namespace {

using kernels::Form;
using kernels::Gate;
using kernels::RowFormat;

Gate gate_of(Activation kind) {
    switch (kind) {
        case Activation::silu: return Gate::silu;
        case Activation::gelu: return Gate::gelu;
        case Activation::quick_gelu: return Gate::quick_gelu;
        case Activation::relu: return Gate::relu;
        case Activation::none: break;
    }
    return Gate::none;
}

std::string to(int64_t in, int64_t out) {
    return std::to_string(in) + ">" + std::to_string(out);
}

}  // namespace

OpsCpu::OpsCpu(const GgmlGraphParts & parts, const Runner::Limits & limits, GgmlCpuDevice & device,
               kernels::Arithmetic arithmetic)
    : OpsGgml(parts, true, limits), device_(device), arithmetic_(arithmetic) {}

// ---- values ------------------------------------------------------------------------------------------------------------

int OpsCpu::pending(Pending value) {
    values_.push_back(nullptr);
    const int id = static_cast<int>(values_.size()) - 1;
    pending_[id] = std::move(value);
    return id;
}

ggml_tensor * OpsCpu::tensor(int id) {
    if (id < 0 || static_cast<size_t>(id) >= values_.size()) return OpsGgml::tensor(id);
    ggml_tensor * t = values_[static_cast<size_t>(id)];
    if (t) return t;
    const Pending & value = pending_.at(id);
    if (value.alias >= 0) {
        room(2);
        t = ggml_reshape_4d(nodes_, contiguous(value.alias), value.ne[0], value.ne[1], value.ne[2], value.ne[3]);
        expand(t);
    } else {
        t = in_form(id, Form::f32);
    }
    return values_[static_cast<size_t>(id)] = t;
}

/// The value that these rows belong to.
OpsCpu::Pending & OpsCpu::rows_of(int id) {
    while (pending_[id].alias >= 0) id = pending_[id].alias;
    return pending_[id];
}

/// The float32 tensors that contain a value's rows, side by side.
NodeRows OpsCpu::sources_of(int id, std::vector<ggml_tensor *> & sources) {
    const Pending & value = rows_of(id);
    NodeRows rows;
    if (value.left >= 0 && !value.made[0]) {
        sources.push_back(contiguous(value.left));
        sources.push_back(contiguous(value.right));
        rows.second = sources.back()->ne[0];
    } else {
        sources.push_back(contiguous(id));
    }
    rows.first = sources.front()->ne[0];
    return rows;
}

/// A value's rows in a form, computed on the first request.
ggml_tensor * OpsCpu::in_form(int id, Form form) {
    const int slot = static_cast<int>(form);
    if (ggml_tensor * made = rows_of(id).made[slot]) return made;
    room(16);
    ggml_tensor * t = nullptr;
    const auto make = rows_of(id).make;
    ggml_tensor * full = rows_of(id).made[static_cast<int>(Form::f32)];
    if (make && full) {
        t = converted(full, rows_of(id).ne, false, form);
    } else if (make) {
        t = make(form);
    } else if (form == Form::f32 && rows_of(id).left < 0) {
        t = contiguous(id);
    } else {
        std::vector<ggml_tensor *> sources;
        const NodeRows x = sources_of(id, sources);
        const int64_t channels = x.first + x.second, count = ggml_nrows(sources.front());
        const RowFormat format = row_format(form, channels, count);
        const Shape & ne = rows_of(id).ne;
        const std::string label =
            (x.second > 0 ? "concat" : "convert") + std::string(form_name(form)) + " " + sizes({channels, count});
        t = rows_node(ConvertNode{kernels_of(kernels::tile_set(arithmetic_)), x, format}, label, 0, format, ne, sources);
    }
    return rows_of(id).made[slot] = t;
}

ggml_tensor * OpsCpu::contiguous(int id) {
    ggml_tensor * t = tensor(id);
    return ggml_is_contiguous(t) ? t : ggml_cont(nodes_, t);
}

Map OpsCpu::map(ggml_tensor * t) {
    return {keep(t), t->ne[1], t->ne[2], t->ne[0], t->ne[3]};
}

Seq OpsCpu::to_seq(Map x) {
    Pending value;
    value.alias = x.id;
    value.ne = {x.channels, x.width * x.height, x.batch, 1};
    return {pending(std::move(value)), x.channels, x.width * x.height, x.batch};
}

Map OpsCpu::to_map(Seq x, int64_t width, int64_t height) {
    Pending value;
    value.alias = x.id;
    value.ne = {x.dim, width, height, x.batch};
    return {pending(std::move(value)), width, height, x.dim, x.batch};
}

Map OpsCpu::concat(Map a, Map b) {
    Pending value;
    value.left = a.id, value.right = b.id;
    value.ne = {a.channels + b.channels, a.width, a.height, a.batch};
    return {pending(std::move(value)), a.width, a.height, a.channels + b.channels, a.batch};
}

Map OpsCpu::input_map(const std::string & name, int64_t width, int64_t height, int64_t channels, int64_t batch) {
    room(4);
    const Map planes = OpsGgml::input_map(name, width, height, channels, batch);
    const TransposeNode data{true, batch, channels, width * height};
    return map(node(data, "planes to rows", 0, {channels, width, height, batch}, {tensor(planes.id)}));
}

void OpsCpu::output(const std::string & name, Map x) {
    room(4);
    const TransposeNode data{false, x.batch, x.channels, x.width * x.height};
    ggml_tensor * planes = node(data, "rows to planes", 0, {x.width, x.height, x.channels, x.batch}, {contiguous(x.id)});
    ggml_set_output(planes);
    outputs_[name] = planes;
}

// ---- products ----------------------------------------------------------------------------------------------------------

/// The first and last layers of a network (few channels in or out) stay in float32: they are little work, and their error goes
/// directly into the result.
const kernels::TileSet & OpsCpu::tiles(int64_t in, int64_t out) const {
    return kernels::tile_set(in < 16 || out < 16 ? kernels::Arithmetic::f32 : arithmetic_);
}

NodeKernels OpsCpu::kernels_of(const kernels::TileSet & tiles) const {
    return {&tiles, &kernels::int8_set(), &kernels::vector_set()};
}

Form OpsCpu::form_of(const Parameter & weight, const kernels::TileSet & tiles) const {
    return weight.dtype == DType::i8 ? Form::int8 : tiles.bf16 ? Form::bf16 : Form::f32;
}

ggml_tensor * OpsCpu::product(const Product & p) {
    const kernels::ConvShape & shape = p.shape;
    const int64_t side = p.side ? p.side.up->inner() : 0;
    const double flops =
        2.0 * static_cast<double>(shape.in * shape.taps() + side) * static_cast<double>(shape.out * shape.pixels());
    const Form form = form_of(*p.weight, *p.tiles);
    ConvNode data{kernels_of(*p.tiles), shape, form == Form::int8, p.out == Form::bf16, p.geglu, p.activation};
    NodeSources sources;
    sources.add(in_form(p.x, form));
    sources.add(tensor_of(p.weight));
    data.gain = sources.add(p.gain ? tensor_of(p.gain) : nullptr);
    data.bias = sources.add(p.bias ? tensor_of(p.bias) : nullptr);
    data.channel_add = sources.add(p.channel_add ? contiguous(p.channel_add.id) : nullptr);
    data.residual = sources.add(p.residual >= 0 ? contiguous(p.residual) : nullptr);
    if (p.side) {
        const int64_t element = p.tiles->element_bytes();
        data.low = sources.add(in_form(p.side.low.id, form));
        data.up = sources.add(tensor_of(p.side.up));
        data.low_row = row_format(form, p.side.low.dim, 1).row_bytes(), data.low_at = p.side.first * element;
    }
    thread_scratch_ = std::max(thread_scratch_, static_cast<uint64_t>(kernels::conv_scratch(*p.tiles, shape, side)));
    return rows_node(data, p.label + form_name(form), flops, row_format(p.out, p.ne[0], shape.pixels()), p.ne, sources.all);
}

/// Rows of float32, or of bfloat16, in another form.
ggml_tensor * OpsCpu::converted(ggml_tensor * rows, const Shape & ne, bool from_bf16, Form form) {
    const int64_t channels = ne[0], count = ne[1] * ne[2] * ne[3];
    const RowFormat format = row_format(form, channels, count);
    const ConvertNode data{kernels_of(kernels::tile_set(arithmetic_)), {channels, 0}, format, from_bf16};
    return rows_node(data, "convert" + std::string(form_name(form)) + " " + sizes({channels, count}), 0, format, ne, {rows});
}

/// The product `id` in the form that its reader needs. For narrower forms, results are first written in 16 bits, because the
/// scale of an int8 row is known only at its end.
ggml_tensor * OpsCpu::product_in(Product p, Form form, int id) {
    p.out = form == Form::f32 || !p.tiles->bf16 ? Form::f32 : Form::bf16;
    ggml_tensor *& made = pending_.at(id).made[static_cast<int>(p.out)];
    if (!made) made = product(p);
    return form == p.out ? made : converted(made, p.ne, p.out == Form::bf16, form);
}

/// Most likely read only by the next product.
int OpsCpu::product_when_needed(const Product & p) {
    Pending value;
    value.ne = p.ne;
    const int id = pending(std::move(value));
    pending_.at(id).make = [this, p, id](Form form) { return product_in(p, form, id); };
    return id;
}

OpsCpu::Product OpsCpu::conv_product(Map x, const Conv & w, const ConvOptions & options) const {
    if (x.channels != w.in) {
        throw Error(ErrorCode::internal, "\"" + w.weight->name + "\" expects " + std::to_string(w.in) + " channels, got " +
                                             std::to_string(x.channels));
    }
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
    if (options.rows) {
        s.pad_top -= static_cast<int>(options.first_row * options.stride);
        s.out_height = options.rows;
    }
    const std::string label = "conv " + sizes({w.kernel, w.kernel}) +
                              (s.stride > 1 ? " /2 "
                               : s.upsample ? " *2 "
                                            : " ") +
                              to(w.in, w.out) + " " + sizes({s.out_width, s.out_height});
    Product p{x.id, w.weight, w.bias, s, &tiles(w.in, w.out), label, {w.out, s.out_width, s.out_height, s.n}};
    p.gain = w.gain, p.channel_add = options.channel_add, p.residual = options.residual.id;
    p.activation = gate_of(options.activation);
    p.side = options.side;
    return p;
}

Map OpsCpu::conv(Map x, const Conv & w, const ConvOptions & options) {
    room(16);
    const Product p = conv_product(x, w, options);
    if (p.activation == Gate::none || options.residual) return map(product(p));
    return {product_when_needed(p), p.shape.out_width, p.shape.out_height, w.out, p.shape.n};
}

OpsCpu::Product OpsCpu::linear_product(Seq x, const Linear & w) const {
    Product p{x.id,
              w.weight,
              w.bias,
              kernels::ConvShape::linear(x.length * x.batch, x.dim, w.out),
              &tiles(w.in, w.out),
              "linear " + to(w.in, w.out) + " " + sizes({x.length}),
              {w.out, x.length, x.batch, 1}};
    p.gain = w.gain;
    return p;
}

/// ggml's dot products are faster for a few tokens.
bool OpsCpu::multiplies(const Parameter & weight, Seq x) const {
    constexpr int64_t kFewTokens = 8;
    return (x.length * x.batch >= kFewTokens || weight.dtype == DType::i8) && x.dim == weight.inner();
}

Seq OpsCpu::linear(Seq x, const Linear & w, const LinearOptions & options) {
    if (!multiplies(*w.weight, x)) return OpsGgml::linear(x, w, options);
    room(16);
    Product p = linear_product(x, w);
    p.activation = gate_of(options.activation), p.residual = options.residual.id;
    p.side = options.side;
    ggml_tensor * made = product(p);
    if (w.weight->dtype == DType::i8) int8_products_.insert(made);
    return seq(made);
}

Seq OpsCpu::attention(Seq q, Seq k, Seq v, const AttentionOptions & options) {
    if (q.dim % options.heads != 0 || k.dim != q.dim || v.dim != q.dim || k.length != v.length || k.batch != q.batch) {
        return OpsGgml::attention(q, k, v, options);
    }
    room(8);
    const double flops = 4.0 * static_cast<double>(q.dim) * static_cast<double>(q.length) * static_cast<double>(k.length) *
                         static_cast<double>(q.batch);
    // Self-attention of a network in 8-bit integers; the keys of a prompt are few. Larger tiles, AMX's, are faster in bfloat16.
    ggml_tensor *queries = contiguous(q.id), *keys = contiguous(k.id);
    const kernels::TileSet & attention_tiles = kernels::tile_set(arithmetic_);
    const bool int8 = !options.causal && int8_products_.count(queries) && int8_products_.count(keys) &&
                      q.dim / options.heads <= kernels::Int8Scores::kMostDim && attention_tiles.rows == kernels::kTileRows;
    AttentionNode data{&attention_tiles, int8 ? kernels::int8_set().scores : nullptr, {}};
    data.shape.batch = q.batch, data.shape.heads = options.heads, data.shape.dim = q.dim / options.heads;
    data.shape.queries = q.length, data.shape.keys = k.length, data.shape.causal = options.causal;
    thread_scratch_ =
        std::max(thread_scratch_, static_cast<uint64_t>(kernels::attention_scratch(*data.tiles, data.int8, data.shape)));
    const std::string label = std::string(options.causal ? "causal " : "") + "attention" +
                              std::string(form_name(data.int8 ? Form::int8 : Form::f32)) + " " +
                              sizes({data.shape.heads, data.shape.dim}) + " " + sizes({q.length}) + " on " + sizes({k.length});
    return seq(node(data, label, flops, {q.dim, q.length, q.batch, 1}, {queries, keys, contiguous(v.id)}));
}

// ---- norms, gates, resampling ------------------------------------------------------------------------------------------

Map OpsCpu::group_norm(Map x, const Norm & w, const GroupNormOptions & options) {
    kernels::GroupNormShape shape;
    shape.n = x.batch, shape.channels = x.channels, shape.pixels = x.width * x.height;
    shape.groups = options.groups, shape.eps = options.eps, shape.gate = gate_of(options.activation);
    Pending value;
    value.ne = {x.channels, x.width, x.height, x.batch};
    value.make = [this, x, shape, ne = value.ne, weight = tensor_of(w.weight), bias = tensor_of(w.bias), scale = options.scale,
                  shift = options.shift](Form form) {
        const NodeKernels kernels = kernels_of(kernels::tile_set(arithmetic_));
        const std::string size = sizes({x.channels, x.width, x.height});
        std::vector<ggml_tensor *> sources;
        const NodeRows rows = sources_of(x.id, sources);
        ggml_tensor * moments =
            node(GroupMomentsNode{kernels, rows, shape}, "group moments " + size, 0, {shape.moments(), 1, 1, 1}, sources);
        sources.insert(sources.end(), {moments, weight, bias});
        if (scale) sources.insert(sources.end(), {contiguous(scale.id), contiguous(shift.id)});
        return rows_node(GroupNormNode{kernels, rows, shape, form, static_cast<bool>(scale)},
                         "group norm" + std::string(form_name(form)) + " " + size, 0,
                         row_format(form, x.channels, shape.n * shape.pixels), ne, sources);
    };
    return {pending(std::move(value)), x.width, x.height, x.channels, x.batch};
}

Map OpsCpu::affine(Map x, Seq scale, Seq shift, Activation kind) {
    Pending value;
    value.ne = {x.channels, x.width, x.height, x.batch};
    value.make = [this, x, scale, shift, kind, ne = value.ne](Form form) {
        const int64_t pixels = x.width * x.height;
        const RowFormat format = row_format(form, x.channels, pixels * x.batch);
        const AffineNode data{kernels_of(kernels::tile_set(arithmetic_)), format, gate_of(kind), pixels};
        return rows_node(data, "affine" + std::string(form_name(form)) + " " + sizes({x.channels, x.width, x.height}), 0, format,
                         ne, {contiguous(x.id), contiguous(scale.id), contiguous(shift.id)});
    };
    return {pending(std::move(value)), x.width, x.height, x.channels, x.batch};
}

Map OpsCpu::activation(Map x, Activation kind) {
    if (kind == Activation::none) return x;
    Pending value;
    value.ne = {x.channels, x.width, x.height, x.batch};
    value.make = [this, x, kind, ne = value.ne](Form form) {
        const RowFormat format = row_format(form, x.channels, x.width * x.height * x.batch);
        const ActivationNode data{kernels_of(kernels::tile_set(arithmetic_)), format, gate_of(kind)};
        return rows_node(data, "activation" + std::string(form_name(form)) + " " + sizes({x.channels, x.width, x.height}), 0,
                         format, ne, {contiguous(x.id)});
    };
    return {pending(std::move(value)), x.width, x.height, x.channels, x.batch};
}

Seq OpsCpu::layer_norm(Seq x, const Norm & w, float eps) {
    Pending value;
    value.ne = {x.dim, x.length, x.batch, 1};
    value.make = [this, x, eps, ne = value.ne, weight = tensor_of(w.weight), bias = tensor_of(w.bias)](Form form) {
        const RowFormat format = row_format(form, x.dim, x.length * x.batch);
        return rows_node(LayerNormNode{kernels_of(kernels::tile_set(arithmetic_)), format, eps},
                         "layer norm" + std::string(form_name(form)) + " " + sizes({x.dim, x.length}), 0, format, ne,
                         {contiguous(x.id), weight, bias});
    };
    return {pending(std::move(value)), x.dim, x.length, x.batch};
}

/// If the halves are whole panels, both are computed together and the ungated values are never stored.
Seq OpsCpu::geglu(Seq x, const Linear & w, const SideProduct & side) {
    const int64_t dim = w.out / 2;
    if (dim % kernels::kTileColumns != 0 || x.dim != w.weight->inner()) return gate(linear(x, w, {Activation::none, {}, side}));
    Product p = linear_product(x, w);
    p.label = "geglu " + to(w.in, w.out) + " " + sizes({x.length});
    p.ne = {dim, x.length, x.batch, 1};
    p.geglu = true;
    p.side = side;
    return {product_when_needed(p), dim, x.length, x.batch};
}

Seq OpsCpu::gate(Seq both) {
    const int64_t dim = both.dim / 2;
    Pending value;
    value.ne = {dim, both.length, both.batch, 1};
    value.make = [this, both, dim, ne = value.ne](Form form) {
        const RowFormat format = row_format(form, dim, both.length * both.batch);
        return rows_node(GegluNode{kernels_of(kernels::tile_set(arithmetic_)), format},
                         "geglu" + std::string(form_name(form)) + " " + sizes({dim, both.length}), 0, format, ne,
                         {contiguous(both.id)});
    };
    return {pending(std::move(value)), dim, both.length, both.batch};
}

Map OpsCpu::avg_pool2(Map x) {
    room(4);
    const ResampleNode data{false, {x.batch, x.height, x.width, x.channels}};
    return map(node(data, "average pool", 0, {x.channels, x.width / 2, x.height / 2, x.batch}, {contiguous(x.id)}));
}

Map OpsCpu::upsample2(Map x) {
    room(4);
    const ResampleNode data{true, {x.batch, x.height, x.width, x.channels}};
    return map(node(data, "upsample", 0, {x.channels, 2 * x.width, 2 * x.height, x.batch}, {contiguous(x.id)}));
}

}  // namespace latent::graph
