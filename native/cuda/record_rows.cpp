// Inputs, outputs and operations on single rows.
#include "cuda/program.h"
#include "cuda/rows.h"

namespace latent::cuda {
namespace {

bool same_shape(const Value & a, const Value & b) {
    return a.batch == b.batch && a.length == b.length && a.channels == b.channels;
}

}  // namespace

void Program::new_port(Port port) {
    if (port.name.empty()) invalid("An input or output needs a name");
    for (const Port & other : ports_) {
        if (other.input == port.input && other.name == port.name)
            invalid("There are two inputs or outputs named \"" + port.name + "\"");
    }
    ports_.push_back(std::move(port));
}

int Program::input(const std::string & name, Value v, bool planes, int64_t height, int64_t width) {
    Port port;
    port.name = name, port.planes = planes, port.input = true, port.height = height, port.width = width;
    if (!v.ids && !planes && v.length == 1) v.f32 = true;
    port.value = new_value(v);
    port.bytes = v.bytes();
    const int id = port.value;
    new_port(std::move(port));
    return id;
}

void Program::output(const std::string & name, int x, bool planes, int64_t height, int64_t width) {
    const int from = real(x);
    const Value v = value(from);
    if (planes && (height < 1 || width < 1 || height > v.length || width > v.length || height * width != v.length))
        invalid("The output \"" + name + "\" does not have height * width pixels");
    Port port;
    port.name = name, port.value = from, port.planes = planes, port.height = height, port.width = width;
    port.bytes = static_cast<uint64_t>(v.rows() * v.channels) * sizeof(float);
    new_port(std::move(port));
    const size_t index = ports_.size() - 1;
    Node node;
    node.reads = {from}, node.label = "output";
    node.launch = [this, from, v, planes, index, half = device_.half()](const Frame & frame) {
        const LayoutArgs args{frame.at(from),
                              ports_[index].buffer,
                              static_cast<int>(v.batch),
                              static_cast<int>(v.length),
                              static_cast<int>(v.channels),
                              static_cast<int>(v.stride()),
                              planes};
        with_type(frame.f32(from), half, [&](auto type) { to_host_layout<decltype(type)>(args, frame.stream); });
    };
    nodes_.push_back(std::move(node));
}

/// A value in memory; stores a concatenation on first use.
int Program::real(int id) {
    const Value v = value(id);
    if (v.ids) invalid("Only embed reads token ids");
    if (v.left < 0) return id;
    if (v.made >= 0) return v.made;
    const Value a = value(v.left), b = value(v.right);
    const int left = typed(v.left, v.f32), right = typed(v.right, v.f32);
    Node node;
    node.reads = {left, right}, node.label = "concat " + std::to_string(v.channels);
    const int made = add_node(std::move(node), like(v, v.length, v.channels));
    nodes_.back().launch = [=, half = device_.half()](const Frame & frame) {
        const ConcatArgs args{frame.at(left),
                              frame.at(right),
                              frame.at(made),
                              static_cast<size_t>(v.rows()),
                              static_cast<int>(a.channels),
                              static_cast<int>(a.stride()),
                              static_cast<int>(b.channels),
                              static_cast<int>(b.stride()),
                              static_cast<int>(v.stride())};
        with_type(v.f32, half, [&](auto type) { cuda::concat_channels<decltype(type)>(args, frame.stream); });
    };
    return values_[static_cast<size_t>(id)].made = made;
}

int Program::typed(int id, bool f32) {
    const int from = real(id);
    const Value v = value(from);
    if (v.f32 == f32) return from;
    const int known = f32 ? v.as_f32 : v.as_element;
    if (known >= 0) return known;
    Value y = like(v, v.length, v.channels);
    y.f32 = f32;
    Node node;
    node.reads = {from}, node.label = "convert";
    const int made = add_node(std::move(node), y);
    nodes_.back().launch = [=, half = device_.half()](const Frame & frame) {
        const auto count = static_cast<size_t>(v.rows() * v.stride());
        with_type(false, half, [&](auto type) {
            using T = decltype(type);
            if (f32)
                convert<T, float>(frame.at(from), frame.at(made), count, frame.stream);
            else
                convert<float, T>(frame.at(from), frame.at(made), count, frame.stream);
        });
    };
    Value & source = values_[static_cast<size_t>(from)];
    return (f32 ? source.as_f32 : source.as_element) = made;
}

int Program::affine(int x, int scale, int shift, int kind) {
    const Value v = value(x);
    const int s = vector_of(scale, v.batch, v.channels, "scale of an affine"),
              t = vector_of(shift, v.batch, v.channels, "shift of an affine");
    if (kind < LATENT_CUDA_NONE || kind > LATENT_CUDA_RELU) invalid("Unknown activation");
    return scale_images(element(x), s, t, kind, "affine");
}

/// Vectors per image onto all rows of an image; scale -1: none.
int Program::scale_images(int from, int s, int t, int kind, const char * label) {
    const Value v = value(from);
    Node node;
    node.reads = {from, t}, node.label = label;
    if (s >= 0) node.reads.push_back(s);
    const int extra = static_cast<int>(value(t).stride());
    const int id = add_node(std::move(node), like(v, v.length, v.channels));
    nodes_.back().launch = [=, half = device_.half()](const Frame & frame) {
        const AffineArgs args{frame.at(from),
                              frame.vector(s),
                              frame.vector(t),
                              frame.at(id),
                              static_cast<size_t>(v.rows()),
                              static_cast<int>(v.length),
                              static_cast<int>(v.channels),
                              static_cast<int>(v.stride()),
                              extra,
                              kind};
        with_type(false, half, [&](auto type) { cuda::affine<decltype(type)>(args, frame.stream); });
    };
    return id;
}

int Program::activation(int x, int kind) {
    if (kind < LATENT_CUDA_NONE || kind > LATENT_CUDA_RELU) invalid("Unknown activation");
    if (kind == LATENT_CUDA_NONE) return x;
    const int from = real(x);
    const Value v = value(from);
    Node node;
    node.reads = {from}, node.label = "activation";
    const int id = add_node(std::move(node), like(v, v.length, v.channels));
    nodes_.back().launch = [=, half = device_.half()](const Frame & frame) {
        with_type(v.f32, half, [&](auto type) {
            cuda::activation<decltype(type)>(frame.at(from), frame.at(id), static_cast<size_t>(v.rows() * v.stride()), kind,
                                             frame.stream);
        });
    };
    return id;
}

int Program::add(int a, int b) {
    if (value(a).length != 1 && value(b).length == 1) {
        const int from = element(a);
        return scale_images(from, -1, vector_of(b, value(a).batch, value(a).channels, "vector of an addition"), LATENT_CUDA_NONE,
                            "add to images");
    }
    if (!same_shape(value(a), value(b))) invalid("Only values of the same shape can be added");
    const bool f32 = value(a).f32 && value(b).f32;
    const int left = typed(a, f32), right = typed(b, f32);
    const Value v = value(left);
    Node node;
    node.reads = {left, right}, node.label = "add", node.adds = true;
    const int id = add_node(std::move(node), like(v, v.length, v.channels));
    nodes_.back().launch = [=, half = device_.half()](const Frame & frame) {
        with_type(f32, half, [&](auto type) {
            cuda::add<decltype(type)>(frame.at(left), frame.at(right), frame.at(id), static_cast<size_t>(v.rows() * v.stride()),
                                      frame.stream);
        });
    };
    return id;
}

int Program::concat_channels(int a, int b) {
    const Value left = value(a), right = value(b);
    if (left.ids || right.ids || left.batch != right.batch || left.length != right.length)
        invalid("Only values of the same length can be concatenated by channels");
    Value v;
    v.batch = left.batch, v.length = left.length, v.channels = left.channels + right.channels;
    v.f32 = left.f32 && right.f32, v.left = real(a), v.right = real(b);
    return new_value(v);
}

int Program::concat_tokens(int a, int b) {
    const int left = element(a), right = element(b);
    const Value v = value(left), w = value(right);
    if (v.batch != w.batch || v.channels != w.channels) invalid("Only tokens of the same width can be concatenated");
    Value y = like(v, v.length + w.length, v.channels);
    Node node;
    node.reads = {left, right}, node.label = "concat tokens";
    const int id = add_node(std::move(node), y);
    nodes_.back().launch = [=, half = device_.half()](const Frame & frame) {
        const JoinTokensArgs args{frame.at(left),
                                  frame.at(right),
                                  frame.at(id),
                                  static_cast<int>(v.batch),
                                  static_cast<int>(v.length),
                                  static_cast<int>(w.length),
                                  static_cast<int>(v.stride())};
        with_type(false, half, [&](auto type) { cuda::concat_tokens<decltype(type)>(args, frame.stream); });
    };
    return id;
}

int Program::resample(int x, int64_t height, int64_t width, bool up) {
    const int from = element(x);
    const Value v = value(from);
    if (height < 1 || width < 1 || height > v.length || height * width != v.length)
        invalid("A map does not have height * width pixels");
    if (!up && (height < 2 || width < 2)) invalid("Pooling needs two rows and two columns");
    const int64_t length = up ? 4 * height * width : (height / 2) * (width / 2);
    Node node;
    node.reads = {from}, node.label = up ? "upsample" : "average pool";
    const int id = add_node(std::move(node), like(v, length, v.channels));
    nodes_.back().launch = [=, half = device_.half()](const Frame & frame) {
        const ResampleArgs args{frame.at(from),
                                frame.at(id),
                                static_cast<int>(v.batch),
                                static_cast<int>(height),
                                static_cast<int>(width),
                                static_cast<int>(v.stride())};
        with_type(false, half, [&](auto type) {
            if (up)
                cuda::upsample2<decltype(type)>(args, frame.stream);
            else
                cuda::avg_pool2<decltype(type)>(args, frame.stream);
        });
    };
    return id;
}

int Program::pick(int x, int pieces, int64_t first, int64_t count, int64_t in_piece, int64_t out_piece, int64_t channels,
                  const char * label) {
    const int from = real(x);
    const Value v = value(from);
    const Value y = like(v, v.length, channels);
    Node node;
    node.reads = {from}, node.label = label;
    const int id = add_node(std::move(node), y);
    nodes_.back().launch = [=, half = device_.half()](const Frame & frame) {
        const PickArgs args{frame.at(from),
                            frame.at(id),
                            static_cast<size_t>(v.rows()),
                            pieces,
                            static_cast<int>(first),
                            static_cast<int>(count),
                            static_cast<int>(in_piece),
                            static_cast<int>(out_piece),
                            static_cast<int>(v.stride()),
                            static_cast<int>(y.stride())};
        with_type(v.f32, half, [&](auto type) { pick_channels<decltype(type)>(args, frame.stream); });
    };
    return id;
}

int Program::slice_channels(int x, int64_t first, int64_t count) {
    const Value & v = value(x);
    if (first < 0 || count < 1 || first > v.channels || count > v.channels - first) invalid("A slice is outside the channels");
    return pick(x, 1, first, count, v.channels, count, count, "slice");
}

void Program::split_heads_qkv(int x, int heads, int * parts) {
    const int64_t channels = value(x).channels;
    if (heads < 1 || channels % (int64_t{heads} * 3))
        invalid(std::to_string(heads) + " heads of q, k and v do not divide the channels");
    const int64_t dim = channels / heads / 3;
    for (int i = 0; i < 3; ++i) parts[i] = pick(x, heads, i * dim, dim, 3 * dim, dim, heads * dim, "split heads");
}

int Program::embed(int ids, TensorPtr table) {
    const Value v = value(ids);
    if (!v.ids) invalid("An embedding needs token ids");
    if (!table || table->desc().role != LATENT_CUDA_EMBEDDING || &table->device() != &device_)
        invalid("A table must be an embedding on this device");
    tensors_[table.get()] = {table, 0};
    Value y;
    y.batch = v.batch, y.length = v.length, y.channels = table->desc().in, y.f32 = v.length == 1;
    Node node;
    node.reads = {ids}, node.label = "embed";
    const int id = add_node(std::move(node), y);
    nodes_.back().launch = [=, half = device_.half()](const Frame & frame) {
        const EmbedArgs args{static_cast<const int32_t *>(frame.at(ids)),
                             nullptr,
                             table->table(),
                             table->desc().type,
                             frame.at(id),
                             static_cast<size_t>(y.rows()),
                             static_cast<int>(y.length),
                             static_cast<int>(y.channels),
                             static_cast<int>(y.stride())};
        with_type(y.f32, half, [&](auto type) { cuda::embed<decltype(type)>(args, frame.stream); });
    };
    return id;
}

int Program::add_positions(int x, TensorPtr table) {
    const int from = real(x);
    const Value v = value(from);
    if (!table || table->desc().role != LATENT_CUDA_EMBEDDING || table->desc().in != v.channels || table->desc().out < v.length ||
        &table->device() != &device_) {
        invalid("A table of positions must be an embedding of " + std::to_string(v.length) + " rows or more of " +
                std::to_string(v.channels));
    }
    tensors_[table.get()] = {table, 0};
    Node node;
    node.reads = {from}, node.label = "positions";
    const int id = add_node(std::move(node), like(v, v.length, v.channels));
    nodes_.back().launch = [=, half = device_.half()](const Frame & frame) {
        const EmbedArgs args{nullptr,
                             frame.at(from),
                             table->table(),
                             table->desc().type,
                             frame.at(id),
                             static_cast<size_t>(v.rows()),
                             static_cast<int>(v.length),
                             static_cast<int>(v.channels),
                             static_cast<int>(v.stride())};
        with_type(v.f32, half, [&](auto type) { cuda::embed<decltype(type)>(args, frame.stream); });
    };
    return id;
}

}  // namespace latent::cuda
