#include "pipeline/adapters.h"

#include <algorithm>
#include <map>

#include "core/text.h"
#include "formats/adapters/run_time.h"
#include "graph/adapter_weights.h"
#include "graph/convert_rows.h"
#include "graph/home.h"
#include "pipeline/messages.h"

namespace latent::pipeline {
namespace {

using formats::AdaptedLayer;

/// The model's own values of a parameter, from its file.
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

/// The change of one weight by all adapters: beside the weight if all of them can, else a replacement.
graph::ParameterChange change_of(const graph::WeightStore & weights, const std::vector<AdaptedLayer> & layers,
                                 const JobContext & job) {
    const Parameter & weight = *layers.front().weight;
    const bool transforms = graph::home_for(weights.device()->kind()).transforms();
    std::vector<float> numbers;
    const formats::BaseNumbers base = [&]() -> const std::vector<float> & {
        if (numbers.empty()) numbers = base_values(weights, weight);
        return numbers;
    };
    const auto check = [&] { job.check(); };
    graph::ParameterChange change;
    const bool beside = std::all_of(layers.begin(), layers.end(), [&](const AdaptedLayer & layer) {
        return formats::add_at_run_time(layer, transforms, base, check, change);
    });
    if (!beside) {
        change = {};
        change.whole = base();
        for (const AdaptedLayer & layer : layers) formats::change_weight(layer, base, check, change.whole);
    }
    change.parameter = weight.name;
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

Adapters::Adapters(const formats::OpenedModel & opened, std::vector<models::Network *> networks, PartResidency & residency)
    : opened_(opened), networks_(std::move(networks)), residency_(residency) {}

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

std::shared_ptr<const graph::AdapterWeights> Adapters::weights_for(const models::Network & network,
                                                                   const std::vector<formats::MatchedAdapter> & all,
                                                                   const JobContext & job) const {
    const graph::WeightStore & weights = network.weights();
    const bool text = weights.part() == part_name(ModelPart::text_encoder);
    std::map<std::string, std::vector<AdaptedLayer>> matrices, biases;  // by the layer's canonical name
    for (size_t i = 0; i < all.size(); ++i) {
        const double strength = text ? wanted_[i].text_weight : wanted_[i].weight;
        if (strength == 0) continue;
        for (const formats::MatchedAdapter::Layer & layer : all[i].layers) {
            const Parameter * weight = weights.find(layer.canonical + ".weight");
            if (!weight || !weight->present()) continue;
            const AdaptedLayer adapted{all[i].file.get(), layer.layer, weight, strength, layer.part, layer.parts};
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

void Adapters::drop() {
    for (models::Network * network : networks_) network->weights().set_adapter(nullptr);
    applied_.clear();
    report_ = Json::array();
}

void Adapters::put(const JobContext & job) {
    if (!names_ && !wanted_.empty()) names_ = std::make_unique<formats::LayerNames>(opened_.networks, opened_.spec);
    std::vector<formats::MatchedAdapter> all;
    Json report = Json::array();
    for (const AdapterUse & use : wanted_) {
        all.push_back(formats::match_adapter(formats::AdapterFile::open(use.path), *names_, opened_.spec));
        report.push_back(all.back().report(use.path));
    }
    std::vector<std::shared_ptr<const graph::AdapterWeights>> made;
    for (const models::Network * network : networks_) made.push_back(all.empty() ? nullptr : weights_for(*network, all, job));
    for (size_t i = 0; i < made.size(); ++i) {
        if (!made[i] && !networks_[i]->weights().adapter()) continue;
        networks_[i]->weights().set_adapter(std::move(made[i]));
        PartResidency::forget_float32(*networks_[i]);  // it may have been the adapters that needed float32
    }
    applied_ = wanted_;
    report_ = std::move(report);
}

}  // namespace latent::pipeline
