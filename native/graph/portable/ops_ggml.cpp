#include "graph/portable/ops_ggml.h"

namespace latent::graph {

namespace {

void leave_unset(ggml_tensor *, int, int, void *) {}

}  // namespace

OpsGgml::OpsGgml(const GgmlGraphParts & parts, bool on_host, const Runner::Limits & limits)
    : nodes_(parts.nodes), leaves_(parts.leaves), graph_(parts.graph), on_host_(on_host), limits_(limits) {}

ggml_tensor * OpsGgml::tensor(int id) {
    if (id < 0 || static_cast<size_t>(id) >= values_.size())
        throw Error(ErrorCode::internal, "A graph operation was given no value");
    return values_[static_cast<size_t>(id)];
}

int OpsGgml::keep(ggml_tensor * t) {
    expand(t);
    values_.push_back(t);
    return static_cast<int>(values_.size()) - 1;
}

Map OpsGgml::map(ggml_tensor * t) {
    return {keep(t), t->ne[0], t->ne[1], t->ne[2], t->ne[3]};
}

Seq OpsGgml::seq(ggml_tensor * t) {
    return {keep(t), t->ne[0], t->ne[1], t->ne[2]};
}

// Every operation checks for room before adding tensors, because ggml aborts when its context is full.
void OpsGgml::room(size_t tensors) const {
    if (ggml_used_mem(nodes_) + (tensors + 2) * ggml_tensor_overhead() > ggml_get_mem_size(nodes_)) throw GraphFull{};
}

// Adding each node immediately preserves the order of the program, which writes into bands rely on, and limits ggml's recursion.
void OpsGgml::expand(ggml_tensor * t) {
    ggml_build_forward_expand(graph_, t);
}

/// A view that also depends on `previous`, a write into the same tensor. ggml does not compute with extra sources of a view, but
/// the graph's order and the allocator's use counts include them; without one, a tensor that is written in pieces would never be
/// freed.
ggml_tensor * OpsGgml::ordered(ggml_tensor * view, ggml_tensor * previous) {
    view->src[1] = previous;
    return view;
}

/// A node of this shape that the next nodes overwrite completely.
ggml_tensor * OpsGgml::unset(int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3) {
    ggml_tensor * t = nullptr;
    if (on_host_) {
        t = ggml_custom_4d(nodes_, GGML_TYPE_F32, ne0, ne1, ne2, ne3, nullptr, 0, leave_unset, 1, nullptr);
    } else {
        ggml_tensor * seed = constant("zero", 1, 1, {0.0f});
        t = ggml_repeat_4d(nodes_, seed, ne0, ne1, ne2, ne3);
    }
    expand(t);
    return t;
}

ggml_tensor * OpsGgml::leaf(ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3) {
    if (ggml_used_mem(leaves_) + 2 * ggml_tensor_overhead() > ggml_get_mem_size(leaves_)) throw GraphFull{};
    ggml_tensor * t = ggml_new_tensor_4d(leaves_, type, ne0, ne1, ne2, ne3);
    ggml_set_input(t);
    return t;
}

ggml_tensor * OpsGgml::constant(const std::string & key, int64_t ne0, int64_t ne1, const std::vector<float> & values) {
    ggml_tensor *& t = constants_by_key_[key];
    if (!t) {
        t = leaf(GGML_TYPE_F32, ne0, ne1, 1, 1);
        constants_.push_back({t, values});
    }
    return t;
}

/// im2col takes the kernel size from a tensor of that shape and never reads its contents.
ggml_tensor * OpsGgml::kernel_shape(int kernel, int64_t channels) {
    ggml_tensor *& t = kernel_shapes_[{kernel, channels}];
    if (!t) t = leaf(GGML_TYPE_F32, kernel, kernel, channels, 1);
    return t;
}

Map OpsGgml::input_map(const std::string & name, int64_t width, int64_t height, int64_t channels, int64_t batch) {
    ggml_tensor * t = leaf(GGML_TYPE_F32, width, height, channels, batch);
    inputs_[name] = t;
    values_.push_back(t);
    return {static_cast<int>(values_.size()) - 1, width, height, channels, batch};
}

Seq OpsGgml::input_seq(const std::string & name, int64_t dim, int64_t length, int64_t batch) {
    ggml_tensor * t = leaf(GGML_TYPE_F32, dim, length, batch, 1);
    inputs_[name] = t;
    values_.push_back(t);
    return {static_cast<int>(values_.size()) - 1, dim, length, batch};
}

Ids OpsGgml::input_ids(const std::string & name, int64_t length, int64_t batch) {
    ggml_tensor * t = leaf(GGML_TYPE_I32, length * batch, 1, 1, 1);
    inputs_[name] = t;
    values_.push_back(t);
    return {static_cast<int>(values_.size()) - 1, length, batch};
}

void OpsGgml::output(const std::string & name, Map x) {
    ggml_tensor * t = tensor(x.id);
    ggml_set_output(t->view_src ? t->view_src : t);
    ggml_set_output(t);
    outputs_[name] = t;
}

void OpsGgml::output(const std::string & name, Seq x) {
    ggml_tensor * t = tensor(x.id);
    ggml_set_output(t->view_src ? t->view_src : t);
    ggml_set_output(t);
    outputs_[name] = t;
}

/// What GPU backends need: they refuse a view as the source of im2col, and copy one to 16 bits as the operand of a product. They
/// also take a tensor for a view if the stride of a dimension of one element is unusual, which a permutation leaves.
ggml_tensor * OpsGgml::contiguous(ggml_tensor * t) {
    if (on_host_) return t;
    if (!ggml_is_contiguous(t)) return ggml_cont(nodes_, t);
    bool usual = true;
    size_t stride = ggml_row_size(t->type, t->ne[0]);
    for (int i = 1; i < GGML_MAX_DIMS; ++i) {
        usual = usual && t->nb[i] == stride;
        stride *= static_cast<size_t>(t->ne[i]);
    }
    return usual ? t : ggml_reshape_4d(nodes_, t, t->ne[0], t->ne[1], t->ne[2], t->ne[3]);
}

/// With sums in float32, which GPU backends would otherwise keep in 16 bits next to 16-bit weights.
ggml_tensor * OpsGgml::product(ggml_tensor * a, ggml_tensor * b) {
    ggml_tensor * y = ggml_mul_mat(nodes_, contiguous(a), contiguous(b));
    if (!on_host_) ggml_mul_mat_set_prec(y, GGML_PREC_F32);
    return y;
}

/// columns [inner, n...] -> [rows, n...].
ggml_tensor * OpsGgml::multiplied(const Parameter * weight, ggml_tensor * columns) {
    if (columns->ne[0] != weight->inner()) {
        throw Error(ErrorCode::internal, "\"" + weight->name + "\" expects " + std::to_string(weight->inner()) + " inputs, got " +
                                             std::to_string(columns->ne[0]));
    }
    ggml_tensor * y = product(tensor_of(weight), columns);
    flops_ += 2.0 * static_cast<double>(weight->inner()) * static_cast<double>(ggml_nelements(y));
    return y;
}

ggml_tensor * OpsGgml::activate(ggml_tensor * t, Activation kind) {
    switch (kind) {
        case Activation::none: return t;
        case Activation::silu: return ggml_silu(nodes_, t);
        case Activation::gelu: return ggml_gelu_erf(nodes_, t);
        case Activation::relu: return ggml_relu(nodes_, t);
        // ggml's version uses a table of 16-bit values.
        case Activation::quick_gelu: return ggml_mul(nodes_, ggml_sigmoid(nodes_, ggml_scale(nodes_, t, 1.702f)), t);
    }
    return t;
}

/// [a, b, c] -> [b, a, c], contiguous.
ggml_tensor * OpsGgml::transposed(ggml_tensor * t) {
    return ggml_cont(nodes_, ggml_permute(nodes_, t, 1, 0, 2, 3));
}

Map OpsGgml::group_norm(Map x, const Norm & w, const GroupNormOptions & options) {
    room(24);
    ggml_tensor * y = ggml_group_norm(nodes_, tensor(x.id), options.groups, options.eps);
    y = ggml_mul_inplace(nodes_, y, ggml_reshape_4d(nodes_, tensor_of(w.weight), 1, 1, w.channels, 1));
    y = ggml_add_inplace(nodes_, y, ggml_reshape_4d(nodes_, tensor_of(w.bias), 1, 1, w.channels, 1));
    if (options.scale) {
        ggml_tensor * scale = ggml_reshape_4d(nodes_, tensor(options.scale.id), 1, 1, w.channels, x.batch);
        ggml_tensor * shift = ggml_reshape_4d(nodes_, tensor(options.shift.id), 1, 1, w.channels, x.batch);
        y = ggml_add_inplace(nodes_, y, ggml_mul(nodes_, y, scale));
        y = ggml_add_inplace(nodes_, y, shift);
    }
    return map(activate(y, options.activation));
}

Map OpsGgml::affine(Map x, Seq scale, Seq shift, Activation kind) {
    room(12);
    ggml_tensor * y = ggml_mul(nodes_, tensor(x.id), ggml_reshape_4d(nodes_, tensor(scale.id), 1, 1, x.channels, x.batch));
    y = ggml_add_inplace(nodes_, y, ggml_reshape_4d(nodes_, tensor(shift.id), 1, 1, x.channels, x.batch));
    return map(activate(y, kind));
}

Map OpsGgml::activation(Map x, Activation kind) {
    room(8);
    return map(activate(tensor(x.id), kind));
}

Seq OpsGgml::activation(Seq x, Activation kind) {
    room(8);
    return seq(activate(tensor(x.id), kind));
}

Map OpsGgml::add(Map a, Map b) {
    room(4);
    return map(ggml_add(nodes_, tensor(a.id), tensor(b.id)));
}

Seq OpsGgml::add(Seq a, Seq b) {
    room(4);
    return seq(ggml_add(nodes_, tensor(a.id), tensor(b.id)));
}

Map OpsGgml::concat(Map a, Map b) {
    room(4);
    return map(ggml_concat(nodes_, tensor(a.id), tensor(b.id), 2));
}

Seq OpsGgml::concat(Seq a, Seq b) {
    room(4);
    return seq(ggml_concat(nodes_, tensor(a.id), tensor(b.id), 1));
}

Map OpsGgml::avg_pool2(Map x) {
    room(4);
    return map(ggml_pool_2d(nodes_, tensor(x.id), GGML_OP_POOL_AVG, 2, 2, 2, 2, 0, 0));
}

Map OpsGgml::upsample2(Map x) {
    room(4);
    return map(ggml_upscale(nodes_, tensor(x.id), 2, GGML_SCALE_MODE_NEAREST));
}

Seq OpsGgml::to_seq(Map x) {
    room(8);
    ggml_tensor * pixels = ggml_reshape_3d(nodes_, tensor(x.id), x.width * x.height, x.channels, x.batch);
    return seq(transposed(pixels));  // [c, w*h, n]
}

Map OpsGgml::to_map(Seq x, int64_t width, int64_t height) {
    room(8);
    ggml_tensor * planes = transposed(tensor(x.id));  // [w*h, c, n]
    return map(ggml_reshape_4d(nodes_, planes, width, height, x.dim, x.batch));
}

Seq OpsGgml::linear(Seq x, const Linear & w, const LinearOptions & options) {
    room(16);
    ggml_tensor * y = activate(multiply(w, tensor(x.id)), options.activation);
    if (options.residual) y = ggml_add_inplace(nodes_, y, tensor(options.residual.id));
    return seq(y);
}

Seq OpsGgml::geglu(Seq x, const Linear & w, const SideProduct &) {
    room(8);
    return seq(ggml_geglu_erf_swapped(nodes_, multiply(w, tensor(x.id))));
}

Seq OpsGgml::gate(Seq both) {
    room(8);
    return seq(ggml_geglu_erf_swapped(nodes_, tensor(both.id)));
}

Seq OpsGgml::layer_norm(Seq x, const Norm & w, float eps) {
    room(8);
    ggml_tensor * y = ggml_norm(nodes_, tensor(x.id), eps);
    y = ggml_mul_inplace(nodes_, y, tensor_of(w.weight));
    return seq(ggml_add_inplace(nodes_, y, tensor_of(w.bias)));
}

Seq OpsGgml::slice(Seq x, int64_t first, int64_t count) {
    room(4);
    ggml_tensor * t = tensor(x.id);
    const size_t offset = static_cast<size_t>(first) * sizeof(float);
    return seq(ggml_cont(nodes_, ggml_view_3d(nodes_, t, count, x.length, x.batch, t->nb[1], t->nb[2], offset)));
}

std::vector<Seq> OpsGgml::split_heads_qkv(Seq x, int heads) {
    room(16);
    const int64_t d = x.dim / (3 * heads);
    const size_t part = static_cast<size_t>(d) * sizeof(float);
    ggml_tensor * t = tensor(x.id);
    std::vector<Seq> parts;
    for (size_t i = 0; i < 3; ++i) {
        ggml_tensor * view = ggml_view_3d(nodes_, t, d, heads, x.length * x.batch, 3 * part, t->nb[1], i * part);
        parts.push_back(seq(ggml_reshape_3d(nodes_, ggml_cont(nodes_, view), d * heads, x.length, x.batch)));
    }
    return parts;
}

Seq OpsGgml::embed(Ids ids, const Embedding & w) {
    room(4);
    ggml_tensor * rows = ggml_get_rows(nodes_, tensor_of(w.weight), tensor(ids.id));
    return seq(ggml_reshape_3d(nodes_, rows, w.dim, ids.length, ids.batch));
}

Seq OpsGgml::add_positions(Seq x, const Parameter * table) {
    room(4);
    ggml_tensor * rows = ggml_view_2d(nodes_, tensor_of(table), x.dim, x.length, tensor_of(table)->nb[1], 0);
    return seq(ggml_add(nodes_, tensor(x.id), rows));
}

}  // namespace latent::graph
