#include "graph/cuda/ops_cuda.h"

#include "graph/cuda/cuda_weights.h"

namespace latent::graph {
namespace {

int32_t to_cuda(Activation kind) {
    switch (kind) {
        case Activation::silu: return LATENT_CUDA_SILU;
        case Activation::gelu: return LATENT_CUDA_GELU;
        case Activation::quick_gelu: return LATENT_CUDA_QUICK_GELU;
        case Activation::relu: return LATENT_CUDA_RELU;
        case Activation::none: break;
    }
    return LATENT_CUDA_NONE;
}

int32_t to_cuda(Padding padding) {
    switch (padding) {
        case Padding::right_bottom: return LATENT_CUDA_RIGHT_BOTTOM;
        case Padding::none: return LATENT_CUDA_VALID;
        case Padding::same: break;
    }
    return LATENT_CUDA_SAME;
}

latent_cuda_side to_cuda(const SideProduct & side) {
    return {side.low.id, cuda_tensor_of(side.up), side.first};
}

}  // namespace

template <typename Function, typename... Arguments>
int OpsCuda::record(const std::string & what, Function function, Arguments... arguments) const {
    latent_cuda_value value = -1;
    graph_.call(what.c_str(), function, graph_.program(), arguments..., &value);
    return value;
}

Map OpsCuda::input_map(const std::string & name, int64_t width, int64_t height, int64_t channels, int64_t batch) {
    return {record(name, &latent_cuda_api::input_map, name.c_str(), batch, channels, height, width), width, height, channels,
            batch};
}

Seq OpsCuda::input_seq(const std::string & name, int64_t dim, int64_t length, int64_t batch) {
    return {record(name, &latent_cuda_api::input_seq, name.c_str(), batch, length, dim), dim, length, batch};
}

Ids OpsCuda::input_ids(const std::string & name, int64_t length, int64_t batch) {
    return {record(name, &latent_cuda_api::input_ids, name.c_str(), batch, length), length, batch};
}

void OpsCuda::output(const std::string & name, Map x) {
    graph_.call("An output", &latent_cuda_api::output_map, graph_.program(), name.c_str(), x.id, x.height, x.width);
}

void OpsCuda::output(const std::string & name, Seq x) {
    graph_.call("An output", &latent_cuda_api::output_seq, graph_.program(), name.c_str(), x.id);
    graph_.note_output(name, x.batch, x.length, x.dim);
}

Map OpsCuda::conv(Map x, const Conv & w, const ConvOptions & options) {
    latent_cuda_conv conv{};
    conv.x = x.id, conv.weight = cuda_tensor_of(w.weight), conv.gain = cuda_tensor_of(w.gain);
    conv.bias = cuda_tensor_of(w.bias);
    conv.height = x.height, conv.width = x.width;
    conv.stride = options.stride, conv.padding = to_cuda(options.padding), conv.upsample = options.upsample ? 1 : 0;
    conv.crop_height = options.crop_height, conv.crop_width = options.crop_width;
    conv.first_row = options.first_row, conv.rows = options.rows;
    conv.channel_add = options.channel_add.id, conv.residual = options.residual.id;
    conv.activation = to_cuda(options.activation);
    conv.side = to_cuda(options.side);

    const int64_t both = options.padding == Padding::same           ? (w.kernel - 1) / 2 * 2
                         : options.padding == Padding::right_bottom ? 1
                                                                    : 0;
    const int64_t scale = options.upsample ? 2 : 1;
    const int64_t width = options.crop_width ? options.crop_width : x.width * scale;
    const int64_t height = options.crop_height ? options.crop_height : x.height * scale;
    const int64_t out_height = (height + both - w.kernel) / options.stride + 1;
    return {record(w.weight->name, &latent_cuda_api::conv, &conv), (width + both - w.kernel) / options.stride + 1,
            options.rows ? options.rows : out_height, w.out, x.batch};
}

Map OpsCuda::group_norm(Map x, const Norm & w, const GroupNormOptions & options) {
    latent_cuda_group_norm norm{};
    norm.x = x.id, norm.weight = cuda_tensor_of(w.weight), norm.bias = cuda_tensor_of(w.bias);
    norm.groups = options.groups, norm.eps = options.eps, norm.activation = to_cuda(options.activation);
    norm.scale = options.scale.id, norm.shift = options.shift.id;
    x.id = record(w.weight->name, &latent_cuda_api::group_norm, &norm);
    return x;
}

Map OpsCuda::affine(Map x, Seq scale, Seq shift, Activation kind) {
    x.id = record("A scaling", &latent_cuda_api::affine, x.id, scale.id, shift.id, to_cuda(kind));
    return x;
}

Map OpsCuda::activation(Map x, Activation kind) {
    if (kind != Activation::none) x.id = record("An activation", &latent_cuda_api::activation, x.id, to_cuda(kind));
    return x;
}

Seq OpsCuda::activation(Seq x, Activation kind) {
    if (kind != Activation::none) x.id = record("An activation", &latent_cuda_api::activation, x.id, to_cuda(kind));
    return x;
}

Map OpsCuda::add(Map a, Map b) {
    a.id = record("An addition", &latent_cuda_api::add, a.id, b.id);
    return a;
}

Seq OpsCuda::add(Seq a, Seq b) {
    a.id = record("An addition", &latent_cuda_api::add, a.id, b.id);
    return a;
}

Map OpsCuda::concat(Map a, Map b) {
    a.id = record("A concatenation", &latent_cuda_api::concat_channels, a.id, b.id);
    a.channels += b.channels;
    return a;
}

Seq OpsCuda::concat(Seq a, Seq b) {
    a.id = record("A concatenation", &latent_cuda_api::concat_tokens, a.id, b.id);
    a.length += b.length;
    return a;
}

Map OpsCuda::avg_pool2(Map x) {
    return {record("A pooling", &latent_cuda_api::avg_pool2, x.id, x.height, x.width), x.width / 2, x.height / 2, x.channels,
            x.batch};
}

Map OpsCuda::upsample2(Map x) {
    return {record("An upsampling", &latent_cuda_api::upsample2, x.id, x.height, x.width), 2 * x.width, 2 * x.height, x.channels,
            x.batch};
}

Seq OpsCuda::linear(Seq x, const Linear & w, const LinearOptions & options) {
    latent_cuda_linear linear{};
    linear.x = x.id, linear.weight = cuda_tensor_of(w.weight), linear.gain = cuda_tensor_of(w.gain);
    linear.bias = cuda_tensor_of(w.bias);
    linear.activation = to_cuda(options.activation), linear.residual = options.residual.id;
    linear.side = to_cuda(options.side);
    return {record(w.weight->name, &latent_cuda_api::linear, &linear), w.out, x.length, x.batch};
}

Seq OpsCuda::geglu(Seq x, const Linear & w, const SideProduct & side) {
    latent_cuda_linear linear{};
    linear.x = x.id, linear.weight = cuda_tensor_of(w.weight), linear.gain = cuda_tensor_of(w.gain);
    linear.bias = cuda_tensor_of(w.bias);
    linear.geglu = 1, linear.residual = -1, linear.side = to_cuda(side);
    return {record(w.weight->name, &latent_cuda_api::linear, &linear), w.out / 2, x.length, x.batch};
}

Seq OpsCuda::gate(Seq both) {
    return {record("A gate", &latent_cuda_api::gate, both.id), both.dim / 2, both.length, both.batch};
}

Seq OpsCuda::layer_norm(Seq x, const Norm & w, float eps) {
    x.id = record(w.weight->name, &latent_cuda_api::layer_norm, x.id, cuda_tensor_of(w.weight), cuda_tensor_of(w.bias), eps);
    return x;
}

Seq OpsCuda::attention(Seq q, Seq k, Seq v, const AttentionOptions & options) {
    const latent_cuda_attention attention{q.id, k.id, v.id, options.heads, options.causal ? 1 : 0};
    q.id = record("An attention", &latent_cuda_api::attention, &attention);
    return q;
}

Seq OpsCuda::slice(Seq x, int64_t first, int64_t count) {
    return {record("A slice", &latent_cuda_api::slice_channels, x.id, first, count), count, x.length, x.batch};
}

std::vector<Seq> OpsCuda::split_heads_qkv(Seq x, int heads) {
    latent_cuda_value values[3] = {-1, -1, -1};
    graph_.call("A split", &latent_cuda_api::split_heads_qkv, graph_.program(), x.id, static_cast<int32_t>(heads), values);
    const int64_t dim = x.dim / 3;
    return {{values[0], dim, x.length, x.batch}, {values[1], dim, x.length, x.batch}, {values[2], dim, x.length, x.batch}};
}

Map OpsCuda::scaled(Map x, const Parameter * gain, const Parameter * shift) {
    return to_map(scaled(to_seq(x), gain, shift), x.width, x.height);
}

Seq OpsCuda::scaled(Seq x, const Parameter * gain, const Parameter * shift) {
    x.id =
        record((gain ? gain : shift)->name, &latent_cuda_api::scale_channels, x.id, cuda_tensor_of(gain), cuda_tensor_of(shift));
    return x;
}

Seq OpsCuda::add_blocks(Seq x, const BlockProduct & w, const Parameter * bias) {
    const latent_cuda_blocks blocks{x.id, cuda_tensor_of(w.weight), cuda_tensor_of(bias), w.order.size, w.order.distance};
    x.id = record(w.weight->name, &latent_cuda_api::add_blocks, &blocks);
    return x;
}

Seq OpsCuda::folded(Seq x, int64_t dim) {
    return {record("A change of tokens' width", &latent_cuda_api::fold, x.id, dim), dim, x.length * x.dim / dim, x.batch};
}

Seq OpsCuda::mixed(Seq x, const Parameter * w, Seq residual) {
    x.id = record(w->name, &latent_cuda_api::mix_groups, x.id, cuda_tensor_of(w), residual.id);
    x.dim = x.dim / w->inner() * w->rows();
    return x;
}

Seq OpsCuda::embed(Ids ids, const Embedding & w) {
    return {record(w.weight->name, &latent_cuda_api::embed, ids.id, cuda_tensor_of(w.weight)), w.dim, ids.length, ids.batch};
}

Seq OpsCuda::add_positions(Seq x, const Parameter * table) {
    x.id = record(table->name, &latent_cuda_api::add_positions, x.id, cuda_tensor_of(table));
    return x;
}

}  // namespace latent::graph
