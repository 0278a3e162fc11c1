// What adapters do to values beside the products of layers.
#include "cuda/adapter_rows.h"
#include "cuda/blocks.h"
#include "cuda/program.h"

namespace latent::cuda {

int Program::scale_channels(int x, TensorPtr gain, TensorPtr shift) {
    const int from = real(x);
    const Value v = value(from);
    if (!gain && !shift) invalid("A scaling needs a gain or a shift");
    need_vector(gain, v.channels, "gain of a scaling"), need_vector(shift, v.channels, "shift of a scaling");
    Node node;
    node.reads = {from}, node.label = "scale " + std::to_string(v.channels);
    const int id = add_node(std::move(node), like(v, v.length, v.channels));
    nodes_.back().launch = [=, half = device_.half()](const Frame & frame) {
        const ScaleArgs args{frame.at(from),
                             numbers_of(gain),
                             numbers_of(shift),
                             frame.at(id),
                             static_cast<size_t>(v.rows()),
                             static_cast<int>(v.stride())};
        with_type(v.f32, half, [&](auto type) { cuda::scale_channels<decltype(type)>(args, frame.stream); });
    };
    return id;
}

int Program::gate(int x) {
    const int from = real(x);
    const Value v = value(from);
    if (v.channels % 2) invalid("A gate needs an even number of channels, got " + std::to_string(v.channels));
    const Value y = like(v, v.length, v.channels / 2);
    Node node;
    node.reads = {from}, node.label = "gate " + std::to_string(y.channels);
    const int id = add_node(std::move(node), y);
    nodes_.back().launch = [=, half = device_.half()](const Frame & frame) {
        const GateArgs args{frame.at(from),
                            frame.at(id),
                            static_cast<size_t>(v.rows()),
                            static_cast<int>(y.channels),
                            static_cast<int>(v.stride()),
                            static_cast<int>(y.stride())};
        with_type(v.f32, half, [&](auto type) { gate_channels<decltype(type)>(args, frame.stream); });
    };
    return id;
}

int Program::add_blocks(const latent_cuda_blocks & c, TensorPtr weight, TensorPtr bias) {
    const int from = real(c.x);
    const Value v = value(from);
    const int64_t size = c.size, run = c.distance ? size / 2 : size;
    if (size < 1 || size > v.channels || v.channels % size || c.distance < 0 || c.distance > v.channels ||
        (c.distance && (size % 2 || c.distance % run || v.channels % (2 * c.distance)))) {
        invalid("Blocks of " + std::to_string(size) + " with a distance of " + std::to_string(c.distance) + " do not divide " +
                std::to_string(v.channels) + " channels");
    }
    weight = matrix(weight, size, "product of blocks");
    if (weight->desc().kernel != 1 || (weight->desc().out != size && weight->desc().out != v.channels))
        invalid("The weights of blocks must have kernel 1 and the rows of one block or of all");
    if (weight->kind() != WeightKind::plain) throw Failure(LATENT_CUDA_UNSUPPORTED, "Quantised weights of blocks");
    need_vector(bias, v.channels, "bias of blocks");
    if (block_tiles(v.channels, size) > 65535)
        throw Failure(LATENT_CUDA_UNSUPPORTED,
                      "Blocks of " + std::to_string(size) + " of " + std::to_string(v.channels) + " channels: too many");
    Node node;
    node.reads = {from};
    node.flops = 2.0 * static_cast<double>(v.rows()) * static_cast<double>(v.channels * size);
    node.label = "blocks " + std::to_string(size) + " of " + std::to_string(v.channels) + " " + std::to_string(v.length);
    const int id = add_node(std::move(node), like(v, v.length, v.channels));
    nodes_.back().launch = [=, half = device_.half(), distance = c.distance](const Frame & frame) {
        const BlockArgs args{frame.at(from),
                             weight->view(),
                             numbers_of(bias),
                             frame.at(id),
                             static_cast<int>(v.rows()),
                             static_cast<int>(v.channels),
                             static_cast<int>(v.stride()),
                             static_cast<int>(size),
                             static_cast<int>(distance)};
        with_type(false, half, [&](auto type) {
            using T = decltype(type);
            if constexpr (sizeof(T) == 2)
                v.f32 ? add_vector_blocks<T>(args, frame.stream) : cuda::add_blocks<T>(args, frame.stream);
        });
    };
    return id;
}

/// Rows without padding only change their length, in the same memory.
int Program::fold(int x, int64_t channels) {
    const int from = real(x);
    const Value v = value(from);
    if (channels < 1 || v.length * v.channels % channels)
        invalid("An image of " + std::to_string(v.length) + " tokens of " + std::to_string(v.channels) +
                " channels does not divide into tokens of " + std::to_string(channels));
    Value y = like(v, v.length * v.channels / channels, channels);
    if (v.channels % 8 == 0 && channels % 8 == 0) {
        y.same = from;
        return new_value(y);
    }
    Node node;
    node.reads = {from}, node.label = "fold " + std::to_string(v.channels) + ">" + std::to_string(channels);
    const int id = add_node(std::move(node), y);
    nodes_.back().launch = [=, half = device_.half()](const Frame & frame) {
        const FoldArgs args{frame.at(from),
                            frame.at(id),
                            static_cast<size_t>(y.rows()),
                            static_cast<int>(v.channels),
                            static_cast<int>(v.stride()),
                            static_cast<int>(channels),
                            static_cast<int>(y.stride())};
        with_type(v.f32, half, [&](auto type) { fold_rows<decltype(type)>(args, frame.stream); });
    };
    return id;
}

int Program::mix_groups(int x, TensorPtr weight, int residual) {
    const int from = real(x);
    const Value v = value(from);
    if (!weight || weight->desc().role != LATENT_CUDA_EMBEDDING || &weight->device() != &device_)
        invalid("The weights of sums of groups must be an embedding on this device");
    const int64_t groups_out = weight->desc().out, groups = weight->desc().in;
    if (v.channels % groups)
        invalid(std::to_string(groups) + " groups do not divide " + std::to_string(v.channels) + " channels");
    const int64_t width = v.channels / groups;
    tensors_[weight.get()] = {weight, 0};
    if (groups_out > (1 << 20) / width) invalid("Sums of groups have too many channels");
    const Value y = like(v, v.length, groups_out * width);
    Node node;
    node.reads = {from};
    int added = -1;
    if (residual >= 0) {
        const Value & r = value(residual);
        if (r.ids || r.batch != y.batch || r.length != y.length || r.channels != y.channels)
            invalid("A residual must have the shape of the result");
        added = typed(residual, v.f32);
        node.reads.push_back(added);
    }
    node.flops = 2.0 * static_cast<double>(y.rows()) * static_cast<double>(y.channels * groups);
    node.label = "mix " + std::to_string(groups_out) + "x" + std::to_string(groups) + " of " + std::to_string(width);
    const int id = add_node(std::move(node), y);
    nodes_.back().launch = [=, half = device_.half()](const Frame & frame) {
        const MixArgs args{frame.at(from),
                           weight->table(),
                           added >= 0 ? frame.at(added) : nullptr,
                           frame.at(id),
                           static_cast<size_t>(y.rows()),
                           weight->desc().type,
                           static_cast<int>(groups_out),
                           static_cast<int>(groups),
                           static_cast<int>(width),
                           static_cast<int>(v.stride()),
                           static_cast<int>(y.stride())};
        with_type(v.f32, half, [&](auto type) { cuda::mix_groups<decltype(type)>(args, frame.stream); });
    };
    return id;
}

}  // namespace latent::cuda
