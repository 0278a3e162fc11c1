#include "pipeline/adapters.h"

#include <algorithm>
#include <map>

#include "core/text.h"
#include "formats/adapters/deltas.h"
#include "graph/adapter_weights.h"
#include "graph/convert_rows.h"
#include "pipeline/messages.h"

namespace latent::pipeline {
namespace {

using formats::AdaptedLayer;
using formats::AdapterFile;
using formats::AdapterLayer;

std::string known_width(int64_t width) {
    switch (width) {
        case 768: return "768 (Stable Diffusion 1.x)";
        case 1024: return "1024 (Stable Diffusion 2.x)";
        case 2048: return "2048 (Stable Diffusion XL)";
        case 1280: return "1280 (the refiner of Stable Diffusion XL)";
        default: return std::to_string(width);
    }
}

/// Inputs that a layer's low rank reads, 0 where it has none.
int64_t inputs_of(const AdapterLayer & layer) {
    const TensorInfo * down = layer.find("down");
    return !down || down->shape.size() < 2 ? 0 : down->elements() / std::max<int64_t>(down->shape[0], 1);
}

bool is_context_layer(const std::string & canonical) {
    const auto ends = [&](const char * end) {
        const std::string text = end;
        return canonical.size() > text.size() && canonical.compare(canonical.size() - text.size(), text.size(), text) == 0;
    };
    return ends("attn2.to_k") || ends("attn2.to_v");
}

/// The model's own numbers of a parameter, from its file.
std::vector<float> base_values(const graph::WeightStore & weights, const Parameter & parameter) {
    const TensorSource & source = *weights.source();
    const TensorInfo & info = source.tensors()[parameter.source_index];
    Span<const uint8_t> stored = source.view(info);
    std::vector<uint8_t> copy;
    if (stored.size() != info.bytes) {
        copy.resize(static_cast<size_t>(info.bytes));
        source.read(info, copy.data());
        stored = copy;
    }
    std::vector<float> out(static_cast<size_t>(parameter.elements()));
    graph::rows_to_f32(info.dtype, stored.data(), 0, parameter.rows(), parameter.inner(), out.data());
    source.release(info);
    source.check_files();
    return out;
}

/// Low ranks of several adapters one after another: their products are summed.
graph::ParameterChange stacked(const Parameter & parameter, const std::vector<formats::LowRank> & parts) {
    graph::ParameterChange change;
    change.parameter = parameter.name;
    for (const formats::LowRank & part : parts) {
        change.rank += part.rank;
        change.down.insert(change.down.end(), part.down.begin(), part.down.end());
    }
    const int64_t rows = parameter.rows();
    change.up.resize(static_cast<size_t>(rows * change.rank));
    int64_t first = 0;
    for (const formats::LowRank & part : parts) {
        for (int64_t row = 0; row < rows; ++row) {
            std::copy_n(part.up.begin() + row * part.rank, part.rank, change.up.begin() + row * change.rank + first);
        }
        first += part.rank;
    }
    return change;
}

/// All adapters of one weight: beside it where all of them are low ranks, else in its place.
graph::ParameterChange change_of(const graph::WeightStore & weights, const std::vector<AdaptedLayer> & layers,
                                 const JobContext & job) {
    const Parameter & weight = *layers.front().weight;
    std::vector<float> numbers;
    const formats::BaseNumbers base = [&]() -> const std::vector<float> & {
        if (numbers.empty()) numbers = base_values(weights, weight);
        return numbers;
    };
    std::vector<formats::LowRank> parts;
    for (const AdaptedLayer & layer : layers) {
        std::optional<formats::LowRank> low = formats::low_rank_of(layer, base);
        if (!low) break;
        parts.push_back(std::move(*low));
    }
    if (parts.size() == layers.size()) return stacked(weight, parts);
    graph::ParameterChange change;
    change.parameter = weight.name;
    change.whole = base();
    for (const AdaptedLayer & layer : layers)
        formats::change_weight(
            layer, base, [&] { job.check(); }, change.whole);
    return change;
}

graph::ParameterChange bias_change_of(const graph::WeightStore & weights, const std::string & name,
                                      const std::vector<AdaptedLayer> & layers) {
    graph::ParameterChange change;
    change.parameter = name;
    const Parameter * bias = weights.find(name);
    change.whole = bias && bias->present() ? base_values(weights, *bias)
                                           : std::vector<float>(static_cast<size_t>(layers.front().weight->rows()));
    for (const AdaptedLayer & layer : layers) formats::change_bias(layer, change.whole);
    return change;
}

}  // namespace

/// What a file has for this model.
struct Adapters::Found {
    struct Layer {
        const AdapterLayer * layer;
        std::string canonical;
    };
    const AdapterUse * use = nullptr;
    std::shared_ptr<const AdapterFile> file;
    std::vector<Layer> layers;
    std::vector<std::string> unmatched, skipped;
};

Adapters::Adapters(const formats::OpenedModel & opened, PartResidency & residency) : opened_(opened), residency_(residency) {}

Json Adapters::set(AdapterUses uses, const JobContext & job) {
    wanted_ = std::move(uses);
    try {
        put(job);
    } catch (...) {
        wanted_ = own_;
        throw;
    }
    own_ = wanted_;
    residency_.refresh_usage();
    return report_;
}

Adapters::Call::Call(Adapters & adapters, const std::optional<AdapterUses> & uses, const JobContext & job) : adapters_(adapters) {
    if (uses) adapters_.wanted_ = *uses;
    try {
        adapters_.apply(job);
    } catch (...) {
        adapters_.wanted_ = adapters_.own_;
        throw;
    }
}

Adapters::Found Adapters::find(const AdapterUse & use, const AdapterFile & file) const {
    Found found;
    found.use = &use;
    std::string foreign;
    for (const AdapterLayer & layer : file.layers()) {
        const std::string canonical = names_->find(layer.name);
        const std::string form = formats::not_applied(layer);
        if (canonical.empty()) {
            found.unmatched.push_back(layer.name);
            if (foreign.empty()) foreign = formats::foreign_network(layer.name);
        } else if (!form.empty()) {
            found.skipped.push_back(layer.name + " (" + form + ")");
        } else {
            found.layers.push_back({&layer, canonical});
        }
    }
    check_family(found, file);
    if (found.layers.empty() && found.skipped.empty()) {
        const std::string what =
            foreign.empty() ? "another kind of model; its layers are called " + first_of(found.unmatched, 3) : foreign;
        throw Error(
            ErrorCode::unsupported_model, file.name() + " is an adapter for " + what + "; no layer of it is in this model",
            Json{{"found", foreign.empty() ? found.unmatched.front().substr(0, 200) : foreign}, {"nearest", opened_.spec.name}}
                .dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    if (found.layers.empty()) {
        throw Error(ErrorCode::unsupported_model,
                    file.name() + " is an adapter of a kind that is not applied: " + first_of(found.skipped, 3),
                    Json{{"found", found.skipped.front().substr(0, 200)}, {"nearest", "LoRA"}}.dump(
                        -1, ' ', false, Json::error_handler_t::replace));
    }
    for (const std::string & name : file.unknown()) found.unmatched.push_back(name);
    for (const std::string & name : file.embeddings()) found.skipped.push_back(name);
    return found;
}

/// Widths of the text that cross-attention reads tell the families apart, whose layers may have the same names.
void Adapters::check_family(const Found & found, const AdapterFile & file) const {
    if (!opened_.spec.unet) return;
    const int64_t own = opened_.spec.unet->context_dim;
    for (const Found::Layer & layer : found.layers) {
        const int64_t width = inputs_of(*layer.layer);
        if (!is_context_layer(layer.canonical) || width == 0 || width == own) continue;
        throw Error(ErrorCode::unsupported_model,
                    file.name() + " is an adapter for another model: its cross-attention reads text of width " +
                        known_width(width) + ", that of this model " + known_width(own),
                    Json{{"found", known_width(width)}, {"nearest", opened_.spec.name}}.dump());
    }
}

std::shared_ptr<const graph::AdapterWeights> Adapters::weights_for(const models::Network & network,
                                                                   const std::vector<Found> & all, const JobContext & job) const {
    const graph::WeightStore & weights = network.weights();
    const bool text = weights.part() == part_name(ModelPart::text_encoder);
    std::map<std::string, std::vector<AdaptedLayer>> matrices, biases;  // by canonical name of the layer
    for (const Found & found : all) {
        const double strength = text ? found.use->text_weight : found.use->weight;
        if (strength == 0) continue;
        for (const Found::Layer & layer : found.layers) {
            const Parameter * weight = weights.find(layer.canonical + ".weight");
            if (!weight || !weight->present()) continue;
            const AdaptedLayer adapted{found.file.get(), layer.layer, weight, strength};
            if (formats::changes_weight(*layer.layer)) matrices[layer.canonical].push_back(adapted);
            if (formats::changes_bias(*layer.layer)) biases[layer.canonical].push_back(adapted);
        }
    }
    if (matrices.empty() && biases.empty()) return nullptr;
    auto matrix = matrices.begin();
    auto bias = biases.begin();
    const auto next = [&](graph::ParameterChange & change) {
        if (matrix != matrices.end()) {
            change = change_of(weights, matrix++->second, job);
            return true;
        }
        if (bias == biases.end()) return false;
        change = bias_change_of(weights, bias->first + ".bias", bias->second);
        ++bias;
        return true;
    };
    return std::make_shared<const graph::AdapterWeights>(weights, next, job);
}

void Adapters::apply(const JobContext & job) {
    if (wanted_ != applied_) put(job);
}

void Adapters::put(const JobContext & job) {
    if (!names_ && !wanted_.empty()) names_ = std::make_unique<formats::LayerNames>(opened_.networks, opened_.spec);
    std::vector<Found> all;
    Json report = Json::array();
    for (const AdapterUse & use : wanted_) {
        const auto file = AdapterFile::open(use.path);
        all.push_back(find(use, *file));
        all.back().file = file;
        Json layers = Json::array();
        for (const Found::Layer & layer : all.back().layers) layers.push_back(layer.canonical);
        report.push_back({{"path", use.path},
                          {"name", file->name()},
                          {"matched", std::move(layers)},
                          {"unmatched", all.back().unmatched},
                          {"skipped", all.back().skipped}});
    }
    std::vector<std::shared_ptr<const graph::AdapterWeights>> made;
    for (const models::Network * network : residency_.parts())
        made.push_back(all.empty() ? nullptr : weights_for(*network, all, job));
    for (size_t i = 0; i < made.size(); ++i) residency_.parts()[i]->weights().set_adapter(std::move(made[i]));
    applied_ = wanted_;
    report_ = std::move(report);
}

}  // namespace latent::pipeline
