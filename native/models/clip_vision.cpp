#include "models/clip_vision.h"

#include <algorithm>
#include <vector>

#include "models/clip_layers.h"

namespace latent::models {

using graph::Ops;
using graph::Scope;
using graph::Seq;

namespace {

constexpr int64_t max_clip_batch = 256;

}  // namespace

struct ClipVision::Layers {
    graph::Embedding class_token;  // a table of one row
    graph::Conv patches;
    const graph::Parameter * positions = nullptr;
    graph::Norm norm_in;
    std::vector<ClipLayer> layers;
    ClipHead head;
};

ClipVision::ClipVision(const ClipVisionConfig & config, graph::DevicePtr device, const std::string & prefix)
    : Network(device, "imageEncoder"), config_(clip_vision_config(to_json(config))), layers_(std::make_unique<Layers>()) {
    const int64_t dim = config.hidden_size;
    const std::string tower = "vision_model.";
    const bool ends = prefix.size() >= tower.size() && prefix.compare(prefix.size() - tower.size(), tower.size(), tower) == 0;
    const Scope root(weights_, prefix), beside(weights_, ends ? prefix.substr(0, prefix.size() - tower.size()) : prefix);
    Layers & l = *layers_;
    l.class_token = {root.table("embeddings.class_embedding", {1, dim}), 1, dim};
    l.patches = root.conv("embeddings.patch_embedding", config.num_channels, dim, config.patch_size, false);
    l.positions = root.table("embeddings.position_embedding.weight", {tokens(), dim});
    l.norm_in = root.norm("pre_layrnorm", dim);  // sic
    for (int i = 0; i < config.num_hidden_layers; ++i)
        l.layers.push_back(declare_clip_layer(root / "encoder" / "layers" / i, dim, config.intermediate_size));
    l.head.norm = root.norm("post_layernorm", dim);
    l.head.projection = beside.linear("visual_projection", dim, config.projection_dim, false).weight;
    l.head.eps = static_cast<float>(config.layer_norm_eps);
}

ClipVision::~ClipVision() = default;

void ClipVision::build(Ops & ops, int64_t batch, int layers) const {
    const Layers & l = *layers_;
    const ClipLayerOptions options{config_.num_attention_heads, false, clip_activation(config_.hidden_act),
                                   static_cast<float>(config_.layer_norm_eps)};
    graph::ConvOptions cut;
    cut.stride = config_.patch_size;
    cut.padding = graph::Padding::none;
    const auto pixels = ops.input_map("pixels", config_.image_size, config_.image_size, config_.num_channels, batch);
    const Seq patches = ops.to_seq(ops.conv(pixels, l.patches, cut));
    Seq x = ops.concat(ops.embed(ops.input_ids("class", 1, batch), l.class_token), patches);
    x = ops.layer_norm(ops.add_positions(x, l.positions), l.norm_in, options.eps);
    for (int i = 0; i < layers; ++i) x = clip_layer(ops, x, l.layers[static_cast<size_t>(i)], options);
    ops.output("hidden", x);
}

void ClipVision::hidden(Span<const float> pixels, int64_t batch, int layers, Span<float> states, const JobContext & job) {
    if (batch < 1 || batch > max_clip_batch)
        throw Error(ErrorCode::invalid_argument, "The image encoder takes 1 to 256 pictures");
    if (layers < 0 || layers > config_.num_hidden_layers) {
        throw Error(ErrorCode::invalid_argument, "The image encoder has " + std::to_string(config_.num_hidden_layers) +
                                                     " layers, " + std::to_string(layers) + " were asked for");
    }
    require_loaded();
    require_size(pixels.size(), batch * config_.num_channels * config_.image_size * config_.image_size, "pictures");
    require_size(states.size(), batch * tokens() * config_.hidden_size, "hidden states");
    const std::string key = std::to_string(batch) + " " + std::to_string(layers);
    graph::Graph & graph = runner_.prepare(key, [&](Ops & ops) { build(ops, batch, layers); });
    graph.set_input("pixels", pixels);
    graph.set_input("class", Span<const int32_t>(std::vector<int32_t>(static_cast<size_t>(batch), 0)));
    graph.compute(*job.cancel);
    graph.get_output("hidden", states);
}

void ClipVision::forward(Span<const float> pixels, int64_t batch, Span<float> embeds, const JobContext & job) {
    const int64_t width = config_.hidden_size;
    require_size(embeds.size(), batch * config_.projection_dim, "image embeddings");
    std::vector<float> states(static_cast<size_t>(std::max<int64_t>(0, std::min(batch, max_clip_batch)) * tokens() * width)),
        pooled;
    hidden(pixels, batch, config_.num_hidden_layers, states, job);
    for (int64_t row = 0; row < batch; ++row) {
        const auto token = states.begin() + row * tokens() * width;
        pooled.insert(pooled.end(), token, token + width);
    }
    graph::Graph & graph =
        runner_.prepare("head " + std::to_string(batch), [&](Ops & ops) { build_clip_head(ops, batch, layers_->head); });
    graph.set_input("pooled", Span<const float>(pooled));
    graph.compute(*job.cancel);
    graph.get_output("embeds", embeds);
}

graph::GraphMeasure ClipVision::measure(int64_t batch) const {
    return runner_.measure([&](Ops & ops) { build(ops, batch, config_.num_hidden_layers); });
}

}  // namespace latent::models
