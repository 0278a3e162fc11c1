#include <algorithm>
#include <cmath>

#include "checks.h"
#include "models/unet_layers.h"
#include "models/unet_trunk.h"

// A trunk as a network of its own, as control networks have it.

using namespace latent;
using golden::ModelCase;
using graph::Map;

namespace {

constexpr int64_t batch = 2, side = 16, tokens = 5;

/// Gives every skip connection and the middle.
class TrunkNetwork : public models::Network {
public:
    explicit TrunkNetwork(const UNetConfig & unet)
        : Network(cpu(), ModelPart::unet),
          config(unet),
          layers(networks::declare_unet_trunk(unet, weights_.declared(), unet_prefix)) {}

    /// The maps, the middle last. `residual_at`: the skip connection that the input "residual", filled with `value`, is added to,
    /// or -1; `last`: where the trunk ends, or -1.
    std::vector<std::vector<float>> maps(int residual_at, float value, int last = -1) {
        int count = 0;
        bool middle = false;
        const std::string key = std::to_string(residual_at) + " " + std::to_string(last);
        runner_.clear();
        graph::Graph & graph = runner_.prepare(key, [&](graph::Ops & ops) {
            const models::TrunkMaps made =
                models::unet_trunk(ops, config, layers, {batch, side, side, tokens}, [&](int skip, const Map & h) {
                    if (skip != residual_at) return models::SkipStep{h, skip == last};
                    const Map residual = ops.input_map("residual", h.width, h.height, h.channels, batch);
                    return models::SkipStep{ops.add(h, residual), skip == last};
                });
            count = 0, middle = static_cast<bool>(made.middle);
            for (const Map & map : made.skips) ops.output("skip " + std::to_string(count++), ops.to_seq(map));
            if (middle) ops.output("skip " + std::to_string(count), ops.to_seq(made.middle));
        });
        const auto set = [&](const std::string & name, float scale) {
            if (!graph.has_input(name)) return;
            const std::vector<double> values = golden::uniform(name, 3, graph.input_size(name));
            std::vector<float> numbers;
            for (const double v : values) numbers.push_back(scale == 0 ? value : scale * static_cast<float>(v));
            graph.set_input(name, Span<const float>(numbers));
        };
        set("x", 1), set("timestep", 1), set("residual", 0);
        for (const networks::CrossAttention * w : layers.context_attentions())
            set(models::keys_name(*w), 1), set(models::values_name(*w), 1);
        graph.compute({});
        std::vector<std::vector<float>> out;
        for (int i = 0; i < count + middle; ++i) {
            out.emplace_back(graph.output_size("skip " + std::to_string(i)));
            graph.get_output("skip " + std::to_string(i), out.back());
        }
        return out;
    }

    const UNetConfig config;
    const networks::UNetTrunk layers;
};

UNetConfig config_of(const ModelCase & c) {
    return golden::unet_config(c.params().at("unet_config").at("params"));
}

}  // namespace

TEST(a_trunk_declares_what_is_before_the_up_path) {
    for (const char * name : {"sd1", "ldm-churches", "ldm-uncond"}) {
        const UNetConfig config = config_of(ModelCase(name));
        ParameterList whole, trunk;
        networks::declare_unet(config, whole, unet_prefix);
        const networks::UNetTrunk layers = networks::declare_unet_trunk(config, trunk, unet_prefix);
        CHECK(static_cast<int>(layers.skip_channels.size()) == config.levels() * (config.num_res_blocks + 1));
        size_t before = 0;
        for (const auto & parameter : whole.all()) {
            const std::string inner = parameter->name.substr(std::string(unet_prefix).size());
            const bool up = inner.rfind("output_blocks.", 0) == 0 || inner.rfind("out.", 0) == 0;
            CHECK((trunk.find(parameter->name) == nullptr) == up);
            before += !up;
        }
        CHECK(trunk.all().size() == before && before < whole.all().size());
    }
}

TEST(residuals_join_a_trunk_at_every_skip) {
    for (const char * name : {"sd1", "ldm-uncond"}) {
        const ModelCase c(name);
        TrunkNetwork network(config_of(c));
        network.weights().plan(c.weights("model.diffusion_model."), exact);
        network.weights().load({});
        const int skips = static_cast<int>(network.layers.skip_channels.size());
        const auto plain = network.maps(-1, 0);
        CHECK(static_cast<int>(plain.size()) == skips + 1);
        for (int at = 0; at < skips; ++at) {
            CHECK(plain[static_cast<size_t>(at)].size() % static_cast<size_t>(batch * network.layers.skip_channels[at]) == 0);
            CHECK(network.maps(at, 0) == plain);
            const auto changed = network.maps(at, 0.5f);
            for (int i = 0; i <= skips; ++i) {
                const std::vector<float> &a = plain[static_cast<size_t>(i)], &b = changed[static_cast<size_t>(i)];
                if (i < at) CHECK(a == b);
                if (i > at) CHECK(a != b);  // what follows reads the sum
                if (i == at) CHECK(std::equal(a.begin(), a.end(), b.begin(), [](float p, float q) { return p + 0.5f == q; }));
            }
            const auto ended = network.maps(-1, 0, at);
            CHECK(static_cast<int>(ended.size()) == at + 1 && std::equal(ended.begin(), ended.end(), plain.begin()));
        }
    }
}
