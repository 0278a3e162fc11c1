#include <algorithm>
#include <cmath>

#include "checks.h"
#include "models/unet_layers.h"
#include "models/unet_up_path.h"

// A trunk as a network of its own, as control networks have it, and the up path over maps that were changed.

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

/// A whole U-Net, whose maps between trunk and up path can be had, changed and given.
class OpenUNet : public models::Network {
public:
    using Numbers = std::vector<std::vector<float>>;  // of each skip connection, the middle's last

    explicit OpenUNet(const UNetConfig & unet)
        : Network(cpu(), ModelPart::unet), config(unet), layers(networks::declare_unet(unet, weights_.declared(), unet_prefix)) {}

    /// The output. Residuals, where there are any, are added to the maps of the trunk, as those of a control network.
    std::vector<float> output(const Numbers & residuals) {
        graph::Graph & graph = prepare([&](graph::Ops & ops) {
            models::TrunkMaps maps = trunk(ops);
            if (!residuals.empty()) {
                for_each(maps, [&](Map & map, const std::string & at) {
                    map = ops.add(map, ops.input_map("residual " + at, map.width, map.height, map.channels, batch));
                });
            }
            models::unet_up_path(ops, layers, shape, {}, maps);
        });
        for (size_t i = 0; i < residuals.size(); ++i)
            graph.set_input("residual " + std::to_string(i), Span<const float>(residuals[i]));
        return computed(graph, "out");
    }

    /// What the trunk makes: its maps, and the embedding behind them.
    Numbers trunk_numbers() {
        size_t count = 0;
        graph::Graph & graph = prepare([&](graph::Ops & ops) {
            models::TrunkMaps maps = trunk(ops);
            count = 0, sizes_.clear();
            for_each(maps, [&](Map & map, const std::string & at) {
                ops.output(at, map);
                sizes_.push_back(map), ++count;
            });
            ops.output("emb", maps.emb);
            emb_size_ = maps.emb;
        });
        Numbers numbers = {computed(graph, "0")};
        for (size_t i = 1; i < count; ++i) numbers.push_back(read(graph, std::to_string(i)));
        numbers.push_back(read(graph, "emb"));
        return numbers;
    }

    /// The output of the up path alone, over what trunk_numbers() gave.
    std::vector<float> up_path_output(const Numbers & numbers) {
        graph::Graph & graph = prepare([&](graph::Ops & ops) {
            models::TrunkMaps maps;
            maps.emb = ops.input_seq("emb", emb_size_.dim, emb_size_.length, batch);
            for (size_t i = 0; i < sizes_.size(); ++i) {
                const Map & size = sizes_[i];
                maps.skips.push_back(ops.input_map("map " + std::to_string(i), size.width, size.height, size.channels, batch));
            }
            maps.middle = maps.skips.back();
            maps.skips.pop_back();
            models::unet_up_path(ops, layers, shape, {}, maps);
        });
        for (size_t i = 0; i + 1 < numbers.size(); ++i)
            graph.set_input("map " + std::to_string(i), Span<const float>(numbers[i]));
        graph.set_input("emb", Span<const float>(numbers.back()));
        return computed(graph, "out");
    }

    const UNetConfig config;
    const networks::UNetLayers layers;

private:
    static constexpr models::DenoisingShape shape{batch, side, side, tokens};

    graph::Graph & prepare(const graph::GraphBuilder & build) {
        runner_.clear();
        return runner_.prepare("", build);
    }

    models::TrunkMaps trunk(graph::Ops & ops) const {
        return models::unet_trunk(ops, config, layers.trunk, shape, [](int, const Map & h) { return models::SkipStep{h}; });
    }

    template <typename Visit>
    static void for_each(models::TrunkMaps & maps, const Visit & visit) {
        for (size_t i = 0; i < maps.skips.size(); ++i) visit(maps.skips[i], std::to_string(i));
        visit(maps.middle, std::to_string(maps.skips.size()));
    }

    std::vector<float> computed(graph::Graph & graph, const std::string & output) const {
        const auto set = [&](const std::string & name) {
            if (!graph.has_input(name)) return;
            const std::vector<double> values = golden::uniform(name, 3, graph.input_size(name));
            const std::vector<float> numbers(values.begin(), values.end());
            graph.set_input(name, Span<const float>(numbers));
        };
        set("x"), set("timestep");
        for (const networks::CrossAttention * w : layers.context_attentions())
            set(models::keys_name(*w)), set(models::values_name(*w));
        graph.compute({});
        return read(graph, output);
    }

    static std::vector<float> read(const graph::Graph & graph, const std::string & output) {
        std::vector<float> numbers(graph.output_size(output));
        graph.get_output(output, numbers);
        return numbers;
    }

    std::vector<Map> sizes_;
    graph::Seq emb_size_;
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

// As a control network's: its maps are added to every skip connection and to the middle before the up path reads them.
TEST(residuals_of_a_control_network_reach_the_up_path) {
    for (const char * name : {"sd1", "ldm-uncond"}) {
        const ModelCase c(name);
        OpenUNet network(config_of(c));
        network.weights().plan(c.weights("model.diffusion_model."), exact);
        network.weights().load({});
        const std::vector<float> plain = network.output({});
        OpenUNet::Numbers maps = network.trunk_numbers();
        CHECK(maps.size() == network.layers.trunk.skip_channels.size() + 2);
        CHECK(network.up_path_output(maps) == plain);

        const size_t count = maps.size() - 1;
        OpenUNet::Numbers zeros, residuals;
        for (size_t i = 0; i < count; ++i) {
            zeros.emplace_back(maps[i].size(), 0.0f);
            const std::vector<double> values = golden::uniform("residual", static_cast<uint32_t>(i), maps[i].size());
            residuals.emplace_back(values.begin(), values.end());
        }
        CHECK(network.output(zeros) == plain);
        for (size_t i = 0; i < count; ++i) {
            OpenUNet::Numbers one = zeros;
            one[i] = residuals[i];
            CHECK(network.output(one) != plain);
        }
        for (size_t i = 0; i < count; ++i) {
            for (size_t j = 0; j < maps[i].size(); ++j) maps[i][j] += residuals[i][j];
        }
        CHECK(network.output(residuals) == network.up_path_output(maps));
    }
}
