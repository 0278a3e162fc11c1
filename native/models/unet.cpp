#include "models/unet.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "models/unet_layers.h"
#include "models/unet_up_path.h"

namespace latent::models {

using graph::Map;
using graph::Ops;
using graph::Seq;

namespace {

constexpr int64_t max_latent_side = 16384;  // latent pixels
constexpr int64_t max_latent_batch = 256;
constexpr int64_t max_tokens = 1 << 16;

/// One value per batch row, from one for all or one each.
template <typename T>
T row_value(Span<const T> values, int64_t row) {
    return values[values.size() == 1 ? 0 : static_cast<size_t>(row)];
}

/// Sinusoid of the guidance weight: sines first, frequencies over half - 1. diffusers get_guidance_scale_embedding.
void guidance_embedding(double weight, int dim, float * out) {
    const int half = dim / 2;
    for (int i = 0; i < half; ++i) {
        const double angle = weight * 1000.0 * std::exp(-std::log(10000.0) * i / std::max(1, half - 1));
        out[i] = static_cast<float>(std::sin(angle));
        out[half + i] = static_cast<float>(std::cos(angle));
    }
}

std::string key_of(const UNetPass & pass) {
    const char * names[] = {"", " keeping ", " outside of "};
    return pass.kind == UNetPass::Kind::whole ? "" : names[static_cast<int>(pass.kind)] + std::to_string(pass.branch);
}

}  // namespace

UNet::UNet(const UNetConfig & config, graph::DevicePtr device, const std::string & prefix)
    : DenoisingNetwork(device, ModelPart::unet),
      config_(config),
      layers_(networks::declare_unet(config, weights_.declared(), prefix)),
      context_runner_(device, weights_, part_name(ModelPart::unet), 1) {}

DenoisingForm UNet::form() const {
    DenoisingForm form;
    form.in_channels = config_.in_channels, form.out_channels = config_.out_channels;
    if (config_.attention == UNetAttention::spatial_transformer) form.context_dim = config_.context_dim;
    if (config_.class_embedding == "embedding") form.class_count = config_.class_count;
    if (config_.class_embedding == "vector") form.vector_dim = config_.vector_dim;
    form.guidance = layers_.trunk.guidance.has_value();
    form.size_multiple = config_.size_multiple(), form.downsampling = config_.downsampling();
    return form;
}

void UNet::on_shortage(const std::function<bool()> & make_room) {
    DenoisingNetwork::on_shortage(make_room);
    context_runner_.on_shortage(make_room);
}

int UNet::deepest_branch() const {
    return config_.levels() * (config_.num_res_blocks + 1) - 2;
}

void UNet::build(Ops & ops, const DenoisingShape & shape, const UNetPass & pass) const {
    const bool outer = pass.kind == UNetPass::Kind::outer;
    unet_up_path(ops, layers_, shape, pass, unet_trunk(ops, config_, layers_.trunk, shape, [&](int skip, const Map & made) {
                     return SkipStep{made, outer && skip == pass.branch};
                 }));
}

void UNet::check(const DenoisingShape & shape) const {
    const int64_t multiple = config_.size_multiple();
    const auto side_fits = [&](int64_t side) { return side >= 1 && side <= max_latent_side && side % multiple == 0; };
    if (!side_fits(shape.width) || !side_fits(shape.height)) {
        throw Error(ErrorCode::invalid_argument, "Latents of " + std::to_string(shape.width) + "x" +
                                                     std::to_string(shape.height) +
                                                     " do not fit the U-Net: each side must be a multiple of " +
                                                     std::to_string(multiple) + ", up to " + std::to_string(max_latent_side));
    }
    if (shape.batch < 1 || shape.batch > max_latent_batch)
        throw Error(ErrorCode::invalid_argument, "The batch of a U-Net call must be 1 to 256");
    if (config_.attention == UNetAttention::spatial_transformer && (shape.tokens < 1 || shape.tokens > max_tokens)) {
        throw Error(ErrorCode::invalid_argument,
                    "This U-Net needs a context of 1 to 65536 tokens, got " + std::to_string(shape.tokens));
    }
}

/// Keys and values of the context for every layer that attends to it; they are the same in all steps.
void UNet::build_context(Ops & ops, const DenoisingShape & shape) const {
    const Seq context = ops.input_seq("context", config_.context_dim, shape.tokens, shape.batch);
    for (const CrossAttention * w : layers_.context_attentions()) {
        ops.output(keys_name(*w), ops.linear(context, w->k, {}));
        ops.output(values_name(*w), ops.linear(context, w->v, {}));
    }
}

/// `rows`: [batch, tokens, context_dim]. Does nothing if the graph already has the keys and values of this context.
void UNet::set_context(graph::Graph & graph, const DenoisingShape & shape, Span<const float> rows, const JobContext & job) {
    if (context_stamp_ == 0 || !std::equal(rows.begin(), rows.end(), context_.begin(), context_.end())) {
        context_.assign(rows.begin(), rows.end());
        ++context_stamp_;
    }
    if (graph.stamp == context_stamp_) return;
    context_runner_.set_limits(runner_.limits());
    const struct Cleared {
        graph::Runner & runner;
        ~Cleared() { runner.clear(); }
    } cleared{context_runner_};
    graph::Graph & keys = context_runner_.prepare("context", [&](Ops & ops) { build_context(ops, shape); });
    keys.set_input("context", rows);
    keys.compute(*job.cancel);
    for (const CrossAttention * w : layers_.context_attentions()) {
        for (const std::string * name : {&keys_name(*w), &values_name(*w)}) {
            if (graph.has_input(*name)) graph.take_input(*name, keys, *name);
        }
    }
    graph.stamp = context_stamp_;
}

uint64_t UNet::feature_bytes(const DenoisingShape & shape, int branch) const {
    // Skip connections: of the first convolution, then of the blocks of every level and of its downsampling.
    const int per_level = config_.num_res_blocks + 1;
    const int level = branch == 0 ? 0 : (branch - 1) / per_level, ahead = config_.levels() * per_level - 1 - branch;
    const bool halved = branch > 0 && branch % per_level == 0;  // downsampling: the channels of its level, the size of the next
    const int64_t skip = layers_.trunk.skip_channels[static_cast<size_t>(branch)];
    const networks::UNetLevel & up = layers_.up[static_cast<size_t>(ahead / per_level)];
    const int64_t channels = up.entries[static_cast<size_t>(ahead % per_level)].res.conv_in.in - skip;
    int64_t height = shape.height, width = shape.width;
    for (int i = 0; i < level + halved; ++i) height = (height + 1) / 2, width = (width + 1) / 2;
    return static_cast<uint64_t>(shape.batch * height * width * channels) * sizeof(float);
}

graph::GraphMeasure UNet::measure(const DenoisingShape & shape, std::optional<int> branch) const {
    check(shape);
    using Kind = UNetPass::Kind;
    const auto pass = [&](Kind kind) {
        return runner_.measure([&](Ops & ops) { build(ops, shape, {kind, branch.value_or(0)}); });
    };
    graph::GraphMeasure measured = pass(branch ? Kind::keep_features : Kind::whole);
    if (branch) measured.bytes += pass(Kind::outer).bytes;
    if (config_.attention == UNetAttention::spatial_transformer)
        measured.bytes += runner_.measure([&](Ops & ops) { build_context(ops, shape); }).bytes;
    return measured;
}

void UNet::forward(const DenoisingInput & input, Span<float> out, const JobContext & job) {
    const DenoisingShape & shape = input.shape;
    const int64_t n = shape.batch, pixels = shape.width * shape.height;
    check(shape);
    require_loaded();
    const auto one_or_each = [&](size_t count, const char * what) { require_size(count, count == 1 ? 1 : n, what); };
    require_size(input.x.size(), n * config_.in_channels * pixels, "input");
    require_size(out.size(), n * config_.out_channels * pixels, "output");
    one_or_each(input.timesteps.size(), "timestep list");

    DenoisingFeatures * features = input.features;
    UNetPass pass;
    if (features) {
        if (features->branch < 0 || features->branch > deepest_branch())
            throw Error(ErrorCode::invalid_argument,
                        "branch of reused features must be 0 to " + std::to_string(deepest_branch()));
        pass = {features->holds(shape) ? UNetPass::Kind::outer : UNetPass::Kind::keep_features, features->branch};
    }
    const std::string key = std::to_string(shape.width) + "x" + std::to_string(shape.height) + "x" + std::to_string(n) + " " +
                            std::to_string(shape.tokens) + key_of(pass);
    graph::Graph & graph = runner_.prepare(key, [&](Ops & ops) { build(ops, shape, pass); });

    std::vector<float> values(static_cast<size_t>(n * config_.model_channels));
    for (int64_t row = 0; row < n; ++row) {
        graph::timestep_embedding(row_value(input.timesteps, row), config_.model_channels,
                                  values.data() + row * config_.model_channels);
    }
    graph.set_input("timestep", Span<const float>(values));
    graph.set_input("x", input.x);

    // A single vector or context is used for every row.
    const auto with_rows = [&](const char * name, Span<const float> data, int64_t row_size, const auto & set) {
        if (static_cast<int64_t>(data.size()) == row_size && n > 1) {
            std::vector<float> rows;
            for (int64_t row = 0; row < n; ++row) rows.insert(rows.end(), data.begin(), data.end());
            set(Span<const float>(rows));
        } else {
            require_size(data.size(), n * row_size, name);
            set(data);
        }
    };
    if (config_.attention == UNetAttention::spatial_transformer) {
        with_rows("context", input.context, shape.tokens * config_.context_dim,
                  [&](Span<const float> rows) { set_context(graph, shape, rows, job); });
    }
    if (layers_.trunk.vector_0) {
        with_rows("vector", input.vector, config_.vector_dim, [&](Span<const float> rows) { graph.set_input("vector", rows); });
    }
    if (layers_.trunk.class_table) {
        one_or_each(input.classes.size(), "class list");
        std::vector<int32_t> ids;
        for (int64_t row = 0; row < n; ++row) {
            ids.push_back(row_value(input.classes, row));
            if (ids.back() < 0 || ids.back() >= config_.class_count) {
                throw Error(ErrorCode::invalid_argument,
                            "Class " + std::to_string(ids.back()) + " is outside 0.." + std::to_string(config_.class_count - 1));
            }
        }
        graph.set_input("class", Span<const int32_t>(ids));
    }
    if (layers_.trunk.guidance) {
        one_or_each(input.guidance.size(), "guidance list");
        std::vector<float> rows(static_cast<size_t>(n * config_.guidance_embed_dim));
        for (int64_t row = 0; row < n; ++row) {
            guidance_embedding(row_value(input.guidance, row), config_.guidance_embed_dim,
                               rows.data() + row * config_.guidance_embed_dim);
        }
        graph.set_input("guidance", Span<const float>(rows));
    }

    if (pass.kind == UNetPass::Kind::outer) graph.set_input("features", *features->data);
    graph.compute(*job.cancel);
    graph.get_output("out", out);
    if (pass.kind != UNetPass::Kind::keep_features) return;
    features->shape = shape;
    features->data = graph.save_output("features");
}

}  // namespace latent::models
