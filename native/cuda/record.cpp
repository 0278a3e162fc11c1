// Products, norms and attention: checks and launches.
#include <algorithm>
#include <cmath>

#include "cuda/attention.h"
#include "cuda/norm.h"
#include "cuda/program.h"
#include "cuda/rows.h"

namespace latent::cuda {
namespace {

constexpr int64_t kMostSide = 32000;  // pixels; positions are 16-bit
constexpr int64_t kMostRows = INT32_MAX / 2;
constexpr int64_t kMostVectors = 65535;  // fits the height of a grid

std::string to(int64_t in, int64_t out) {
    return std::to_string(in) + ">" + std::to_string(out);
}
std::string sizes(int64_t a, int64_t b) {
    return std::to_string(a) + "x" + std::to_string(b);
}

void need_activation(int kind) {
    if (kind < LATENT_CUDA_NONE || kind > LATENT_CUDA_RELU) invalid("Unknown activation " + std::to_string(kind));
}

bool aligned(const Value & v) {
    return v.channels % 8 == 0;
}

}  // namespace

const Value & Program::value(int id) const {
    if (id < 0 || static_cast<size_t>(id) >= values_.size())
        invalid("Value " + std::to_string(id) + " does not belong to this program");
    return values_[static_cast<size_t>(id)];
}

int Program::stored(int id) const {
    while (values_[static_cast<size_t>(id)].same >= 0) id = values_[static_cast<size_t>(id)].same;
    return id;
}

int Program::new_value(Value value) {
    if (value.batch < 1 || value.length < 1 || value.channels < 1 || value.batch > kMostRows ||
        value.length > kMostRows / value.batch || value.channels > 1 << 20) {
        invalid("A value of " + std::to_string(value.batch) + " x " + std::to_string(value.length) + " x " +
                std::to_string(value.channels) + " is empty or too large");
    }
    values_.push_back(value);
    return static_cast<int>(values_.size()) - 1;
}

int Program::add_node(Node node, Value value) {
    node.writes = new_value(value);
    nodes_.push_back(std::move(node));
    return nodes_.back().writes;
}

void Program::require_recording() const {
    if (finished_) invalid("The program is finished: recording is not possible any more");
}

TensorPtr Program::matrix(TensorPtr weight, int64_t in, const char * what) {
    if (!weight || weight->desc().role != LATENT_CUDA_MATRIX)
        invalid(std::string("The weight of a ") + what + " must be a matrix");
    if (weight->desc().in != in)
        invalid(std::string("The ") + what + " takes " + std::to_string(weight->desc().in) + " channels, got " +
                std::to_string(in));
    if (&weight->device() != &device_) invalid("A tensor is on another device");
    tensors_[weight.get()] = {weight, 0};
    return weight;
}

void Program::need_vector(const TensorPtr & tensor, int64_t count, const char * what) {
    if (!tensor) return;
    const auto & d = tensor->desc();
    if (d.role != LATENT_CUDA_VECTOR || d.out != count || &tensor->device() != &device_)
        invalid(std::string("The ") + what + " must be a vector of " + std::to_string(count) + " on this device");
    tensors_[tensor.get()] = {tensor, 0};
}

/// A vector per image as float32.
int Program::vector_of(int id, int64_t batch, int64_t channels, const char * what) {
    const Value & v = value(id);
    if (v.batch != batch || v.length != 1 || v.channels != channels)
        invalid(std::string("The ") + what + " must be [" + std::to_string(batch) + ", 1, " + std::to_string(channels) + "]");
    return typed(id, true);
}

/// Checks what an adapter adds to a product whose result has the rows of y.
void Program::need_side(const latent_cuda_side & side, const TensorPtr & up, const TensorPtr & weight, const Value & y) {
    if (!up) return;
    const auto & d = up->desc();
    const Value & low = value(side.low);
    (void)matrix(up, d.in, "layer's adapter");
    if (d.kernel != 1 || d.out != weight->desc().out)
        invalid("The upper factor of an adapter must have kernel 1 and the " + std::to_string(weight->desc().out) +
                " rows of its layer");
    if (up->kind() != WeightKind::plain) throw Failure(LATENT_CUDA_UNSUPPORTED, "A quantised upper factor of an adapter");
    if (low.ids || low.batch != y.batch || low.length != y.length)
        invalid("The lower product of an adapter must have the rows of its layer's result");
    if (side.first < 0 || side.first % 8)
        invalid("The first channel of an adapter's lower product is " + std::to_string(side.first) + ", not a multiple of 8");
    if (side.first > low.channels || d.in > low.channels - side.first)
        invalid("An adapter reads " + std::to_string(d.in) + " channels from channel " + std::to_string(side.first) +
                " on of a lower product of " + std::to_string(low.channels));
}

/// In the profile: the work of a side product, and its rank.
static void add_side_work(const Tensor & up, const Value & y, Node & node) {
    node.flops += 2.0 * static_cast<double>(y.rows()) * static_cast<double>(up.desc().out * up.desc().in);
    node.label += " + " + std::to_string(up.desc().in);
}

void Program::add_side(const latent_cuda_side & side, TensorPtr up, const Value & y, Product & product, Node & node) {
    if (!up) return;
    need_side(side, up, product.weight, y);
    product.low = element(side.low), product.low_first = side.first;
    product.args.side.c1 = static_cast<int>(values_[product.low].stride());
    node.reads.push_back(product.low);
    add_side_work(*up, y, node);
    product.up = std::move(up);
}

/// Both parts of a concatenation, if groups of eight channels stay together.
void Program::sources(int x, Product & product, std::vector<int> & reads) {
    const Value v = value(x);
    if (v.left >= 0 && v.made < 0) {
        const int a = element(v.left), b = element(v.right);
        if (aligned(values_[a]) && aligned(values_[b])) {
            product.x1 = a, product.x2 = b;
            product.args.c1 = static_cast<int>(values_[a].channels), product.args.c2 = static_cast<int>(values_[b].channels);
            reads.push_back(a), reads.push_back(b);
            return;
        }
    }
    product.x1 = element(x);
    product.args.c1 = static_cast<int>(values_[product.x1].stride());
    reads.push_back(product.x1);
}

int Program::conv(const latent_cuda_conv & c, LayerTensors tensors) {
    const Value x = value(c.x);
    const TensorPtr weight = matrix(tensors.weight, x.channels, "convolution");
    const int kernel = weight->desc().kernel;
    const int64_t out = weight->desc().out;
    need_vector(tensors.bias, out, "bias of a convolution"), need_vector(tensors.gain, out, "gain of a convolution");
    need_activation(c.activation);
    if (c.height < 1 || c.width < 1 || c.height > kMostSide || c.width > kMostSide || c.height * c.width != x.length)
        invalid("A map of " + sizes(c.width, c.height) + " does not have " + std::to_string(x.length) +
                " pixels, or is too large");
    if (c.stride < 1 || c.stride > kernel + 64 || c.padding < LATENT_CUDA_SAME || c.padding > LATENT_CUDA_VALID)
        invalid("A convolution's stride or padding is out of range");
    if (!c.upsample && (c.crop_height || c.crop_width)) invalid("Cropping requires upsampling");

    auto product = std::make_shared<Product>();
    ProductArgs & p = product->args;
    const int low = c.padding == LATENT_CUDA_SAME ? (kernel - 1) / 2 : 0;
    const int both = c.padding == LATENT_CUDA_SAME ? 2 * low : c.padding == LATENT_CUDA_RIGHT_BOTTOM ? 1 : 0;
    const int64_t scale = c.upsample ? 2 : 1;
    const int64_t seen_height = c.crop_height ? c.crop_height : c.height * scale,
                  seen_width = c.crop_width ? c.crop_width : c.width * scale;
    int64_t out_height = (seen_height + both - kernel) / c.stride + 1;
    const int64_t out_width = (seen_width + both - kernel) / c.stride + 1;
    if (seen_height < 1 || seen_width < 1 || seen_height > c.height * scale || seen_width > c.width * scale ||
        seen_height + both < kernel || seen_width + both < kernel || seen_height > kMostSide || seen_width > kMostSide) {
        invalid("A kernel of " + std::to_string(kernel) + " does not fit a map of " + sizes(seen_width, seen_height));
    }
    if (c.rows) {
        if (c.first_row < 0 || c.rows < 0 || c.first_row > out_height || c.rows > out_height - c.first_row)
            invalid("The rows of a convolution are outside its result");
        out_height = c.rows;
    } else if (c.first_row) {
        invalid("first_row requires rows");
    }
    Node node;
    sources(c.x, *product, node.reads);
    Value y;
    y.batch = x.batch, y.length = out_height * out_width, y.channels = out;
    p.m = static_cast<int>(y.rows()), p.columns = static_cast<int>(y.stride()), p.activation = c.activation;
    p.height = static_cast<int>(c.height), p.width = static_cast<int>(c.width);
    p.seen_height = static_cast<int>(seen_height), p.seen_width = static_cast<int>(seen_width);
    p.out_height = static_cast<int>(out_height), p.out_width = static_cast<int>(out_width);
    p.kernel = kernel, p.stride = c.stride, p.upsample = c.upsample ? 1 : 0;
    p.pad_top = low - static_cast<int>(c.first_row) * c.stride, p.pad_left = low;
    p.spatial = kernel > 1 || c.stride > 1 || c.upsample || c.rows || both > 0;
    if (c.channel_add >= 0) {
        product->channel_add = vector_of(c.channel_add, x.batch, out, "channel_add of a convolution");
        p.add_stride = static_cast<int>(values_[product->channel_add].stride());
        node.reads.push_back(product->channel_add);
    }
    if (c.residual >= 0) {
        const Value & r = value(c.residual);
        if (r.batch != y.batch || r.length != y.length || r.channels != y.channels)
            invalid("A residual must have the shape of the result");
        product->residual = element(c.residual);
        node.reads.push_back(product->residual);
    }
    const int64_t k = int64_t{kernel} * kernel * (p.c1 + p.c2);
    product->plan = plan_product(p.m, p.columns, k, weight->kind(), false, device_.multiprocessors());
    p.splits = product->plan.splits;
    product->weight = weight, product->gain = std::move(tensors.gain), product->bias = std::move(tensors.bias);
    node.workspace = product_workspace(product->plan, p.m, p.columns);
    node.launches = p.splits > 1 ? 2 : 1;
    node.flops =
        2.0 * static_cast<double>(y.rows()) * static_cast<double>(out) * static_cast<double>(x.channels * kernel * kernel);
    node.label = "conv " + sizes(kernel, kernel) +
                 (c.stride > 1 ? " /2 "
                  : c.upsample ? " *2 "
                               : " ") +
                 to(x.channels, out) + " " + sizes(out_width, out_height);
    add_side(c.side, std::move(tensors.up), y, *product, node);
    node.product = std::move(product);
    return add_node(std::move(node), y);
}

int Program::linear(const latent_cuda_linear & c, LayerTensors tensors) {
    const Value x = value(c.x);
    const TensorPtr weight = matrix(tensors.weight, x.channels, "linear layer");
    if (weight->desc().kernel != 1) invalid("The weight of a linear layer must have kernel 1");
    if (c.geglu && weight->desc().out % 2) invalid("A gated layer must have an even number of rows");
    need_activation(c.activation);
    const int64_t out = c.geglu ? weight->desc().out / 2 : weight->desc().out;
    need_vector(tensors.bias, weight->desc().out, "bias of a linear layer");
    need_vector(tensors.gain, weight->desc().out, "gain of a linear layer");
    if (c.residual >= 0) {
        const Value & r = value(c.residual);
        if (r.batch != x.batch || r.length != x.length || r.channels != out)
            invalid("A residual must have the shape of the result");
    }
    if (x.f32) return vector_linear(c, tensors, out);
    if (c.geglu && out % 8)
        throw Failure(LATENT_CUDA_UNSUPPORTED, "A gated layer of " + std::to_string(out) + " channels: not a multiple of 8");

    auto product = std::make_shared<Product>();
    ProductArgs & p = product->args;
    Node node;
    sources(c.x, *product, node.reads);
    const Value y = like(x, x.length, out);
    p.m = static_cast<int>(y.rows()), p.columns = static_cast<int>(y.stride());
    p.activation = c.activation, p.gated = c.geglu != 0;
    if (c.residual >= 0) {
        product->residual = element(c.residual);
        node.reads.push_back(product->residual);
    }
    product->plan = plan_product(p.m, p.columns, p.c1 + p.c2, weight->kind(), p.gated, device_.multiprocessors());
    p.splits = product->plan.splits;
    node.workspace = product_workspace(product->plan, p.m, p.columns);
    node.launches = p.splits > 1 ? 2 : 1;
    node.flops = 2.0 * static_cast<double>(y.rows()) * static_cast<double>(weight->desc().out * x.channels);
    node.label =
        std::string(c.geglu ? "geglu " : "linear ") + to(x.channels, weight->desc().out) + " " + std::to_string(x.length);
    product->weight = weight, product->gain = std::move(tensors.gain), product->bias = std::move(tensors.bias);
    add_side(c.side, std::move(tensors.up), y, *product, node);
    node.product = std::move(product);
    return add_node(std::move(node), y);
}

/// Vectors, one per image, stay in float32: they affect every layer and are small.
int Program::vector_linear(const latent_cuda_linear & c, const LayerTensors & tensors, int64_t out) {
    const auto & [weight, gain, bias, up] = tensors;
    const Value x = value(c.x);
    if (x.rows() > kMostVectors)
        throw Failure(LATENT_CUDA_UNSUPPORTED, "A linear layer of more than " + std::to_string(kMostVectors) + " vectors");
    need_side(c.side, up, weight, x);
    const int from = typed(c.x, true), residual = c.residual >= 0 ? typed(c.residual, true) : -1;
    const int low = up ? typed(c.side.low, true) : -1;
    Value y;
    y.batch = x.batch, y.length = x.length, y.channels = out, y.f32 = true;
    Node node;
    node.reads = {from};
    if (residual >= 0) node.reads.push_back(residual);
    if (low >= 0) node.reads.push_back(low);
    node.flops = 2.0 * static_cast<double>(y.rows()) * static_cast<double>(weight->desc().out * x.channels);
    node.label = std::string(c.geglu ? "geglu" : "linear") + " of vectors " + to(x.channels, weight->desc().out);
    if (up) add_side_work(*up, y, node);
    VectorProductArgs p;
    p.rows = static_cast<int>(y.rows()), p.columns = static_cast<int>(y.stride());
    p.main.x_stride = static_cast<int>(values_[from].stride());
    if (low >= 0) p.side.x_stride = static_cast<int>(values_[low].stride());
    p.activation = c.activation, p.gated = c.geglu != 0;
    const int id = add_node(std::move(node), y);
    nodes_.back().launch = [=, half = device_.half(), first = c.side.first](const Frame & frame) {
        VectorProductArgs args = p;
        args.main.x = frame.vector(from), args.main.w = tensors.weight->view();
        args.gain = numbers_of(tensors.gain), args.bias = numbers_of(tensors.bias);
        if (tensors.up) args.side.x = frame.vector(low) + first, args.side.w = tensors.up->view();
        args.residual = frame.vector(residual), args.y = frame.vector(id);
        half ? vector_product<f16>(args, frame.stream) : vector_product<bf16>(args, frame.stream);
    };
    return id;
}

void launch_product(const Product & product, int y, const Frame & frame, bool half) {
    ProductArgs p = product.args;
    p.x1 = frame.at(product.x1), p.x2 = product.x2 >= 0 ? frame.at(product.x2) : nullptr;
    p.w = product.weight->view(), p.gain = numbers_of(product.gain), p.bias = numbers_of(product.bias);
    if (product.up) {
        p.side.x1 = static_cast<const char *>(frame.at(product.low)) + 2 * product.low_first;
        p.side.w = product.up->view();
    }
    p.channel_add = frame.vector(product.channel_add);
    p.residual = product.residual >= 0 ? frame.at(product.residual) : nullptr;
    p.y = frame.at(y), p.f32_out = frame.f32(y), p.partial = static_cast<float *>(frame.workspace);
    half ? cuda::product<f16>(p, product.plan.tile, frame.stream) : cuda::product<bf16>(p, product.plan.tile, frame.stream);
}

int Program::group_norm(const latent_cuda_group_norm & c, TensorPtr weight, TensorPtr bias) {
    const Value x = value(c.x);
    if (!weight || !bias) invalid("A group norm needs a weight and a bias");
    need_vector(weight, x.channels, "weight of a group norm"), need_vector(bias, x.channels, "bias of a group norm");
    need_activation(c.activation);
    if (c.groups < 1 || x.channels % c.groups)
        invalid(std::to_string(c.groups) + " groups do not divide " + std::to_string(x.channels) + " channels");
    if ((c.scale >= 0) != (c.shift >= 0)) invalid("A group norm needs both scale and shift, or neither");
    if (x.stride() > 8192 || c.groups > 1024)
        throw Failure(LATENT_CUDA_UNSUPPORTED, "A group norm of more than 8192 channels or 1024 groups");
    Node node;
    Product from;
    sources(c.x, from, node.reads);
    GroupNormArgs p;
    p.c1 = from.args.c1, p.c2 = from.args.c2, p.channels = static_cast<int>(x.channels);
    p.batch = static_cast<int>(x.batch), p.pixels = static_cast<int>(x.length), p.groups = c.groups, p.eps = c.eps,
    p.activation = c.activation;
    if (x.batch > 65535) throw Failure(LATENT_CUDA_UNSUPPORTED, "A group norm of more than 65535 images");
    int scale = -1, shift = -1;
    if (c.scale >= 0) {
        scale = vector_of(c.scale, x.batch, x.channels, "scale of a group norm");
        shift = vector_of(c.shift, x.batch, x.channels, "shift of a group norm");
        p.extra_stride = static_cast<int>(values_[scale].stride());
        node.reads.push_back(scale), node.reads.push_back(shift);
    }
    plan_group_norm(p, device_.multiprocessors());
    node.workspace = group_norm_workspace(p), node.launches = 2;
    node.label = "group norm " + sizes(x.channels, x.length);
    Value y;
    y.batch = x.batch, y.length = x.length, y.channels = x.channels;
    const int id = add_node(std::move(node), y);
    nodes_.back().launch = [=, half = device_.half()](const Frame & frame) {
        GroupNormArgs args = p;
        args.x1 = frame.at(from.x1), args.x2 = from.x2 >= 0 ? frame.at(from.x2) : nullptr;
        args.weight = weight->vector(), args.bias = bias->vector();
        args.scale = frame.vector(scale), args.shift = frame.vector(shift);
        args.moments = static_cast<float *>(frame.workspace), args.y = frame.at(id);
        half ? cuda::group_norm<f16>(args, frame.stream) : cuda::group_norm<bf16>(args, frame.stream);
    };
    return id;
}

int Program::layer_norm(int x, TensorPtr weight, TensorPtr bias, float eps) {
    const int from = real(x);
    const Value v = value(from);
    if (!weight || !bias) invalid("A layer norm needs a weight and a bias");
    need_vector(weight, v.channels, "weight of a layer norm"), need_vector(bias, v.channels, "bias of a layer norm");
    Node node;
    node.reads = {from}, node.label = "layer norm " + sizes(v.channels, v.length);
    Value y;
    y.batch = v.batch, y.length = v.length, y.channels = v.channels, y.f32 = v.f32;
    const int id = add_node(std::move(node), y);
    nodes_.back().launch = [=, half = device_.half()](const Frame & frame) {
        const LayerNormArgs args{frame.at(from),
                                 weight->vector(),
                                 bias->vector(),
                                 frame.at(id),
                                 static_cast<int>(v.rows()),
                                 static_cast<int>(v.channels),
                                 static_cast<int>(v.stride()),
                                 eps};
        if (v.f32) return cuda::layer_norm<float>(args, frame.stream);
        half ? cuda::layer_norm<f16>(args, frame.stream) : cuda::layer_norm<bf16>(args, frame.stream);
    };
    return id;
}

int Program::attention(const latent_cuda_attention & c) {
    const Value q = value(c.q), k = value(c.k), v = value(c.v);
    if (c.heads < 1 || q.channels % c.heads || k.channels != q.channels || v.channels != q.channels || k.length != v.length ||
        k.batch != q.batch || v.batch != q.batch) {
        invalid("q, k and v of an attention do not match each other or " + std::to_string(c.heads) + " heads");
    }
    const int64_t dim = q.channels / c.heads, padded = (dim + 7) / 8 * 8;
    if (dim > kMaxHead)
        throw Failure(LATENT_CUDA_UNSUPPORTED, "Attention with heads of " + std::to_string(dim) + " channels: at most 512");
    if (c.heads > 16000 || q.batch > 65535)
        throw Failure(LATENT_CUDA_UNSUPPORTED, "Attention with more than 16000 heads or 65535 images");
    int in[3] = {element(c.q), element(c.k), element(c.v)};
    if (dim != padded) {  // rows of a head must be 16-byte aligned
        for (int & each : in) each = pick(each, c.heads, 0, dim, dim, padded, padded * c.heads, "pad heads");
    }
    Value y;
    y.batch = q.batch, y.length = q.length, y.channels = padded * c.heads;
    Node node;
    node.reads = {in[0], in[1], in[2]};
    node.flops = 4.0 * static_cast<double>(q.rows() * k.length) * static_cast<double>(q.channels);
    node.label = "attention " + sizes(c.heads, dim) + " " + std::to_string(q.length) + " on " + std::to_string(k.length);
    const int stride = static_cast<int>(y.stride());
    const int id = add_node(std::move(node), y);
    nodes_.back().launch = [=, half = device_.half(), a = in[0], b = in[1], d = in[2], heads = c.heads,
                            causal = c.causal != 0](const Frame & frame) {
        const AttentionArgs args{frame.at(a),
                                 frame.at(b),
                                 frame.at(d),
                                 frame.at(id),
                                 stride,
                                 stride,
                                 stride,
                                 stride,
                                 static_cast<int>(q.batch),
                                 heads,
                                 static_cast<int>(padded),
                                 static_cast<int>(q.length),
                                 static_cast<int>(k.length),
                                 1.0f / std::sqrt(static_cast<float>(dim)),
                                 causal};
        half ? cuda::attention<f16>(args, frame.stream) : cuda::attention<bf16>(args, frame.stream);
    };
    return dim == padded ? id : pick(id, c.heads, 0, dim, padded, dim, q.channels, "unpad heads");
}

}  // namespace latent::cuda
