#pragma once

#include <memory>
#include <string>
#include <vector>

#include "formats/adapters/match.h"
#include "formats/model_files.h"
#include "pipeline/memory/part_residency.h"
#include "pipeline/requests.h"

namespace latent::pipeline {

/// The adapters of one model's networks: opens their files, finds their layers, and adds their products. Used from the device's
/// job thread.
class Adapters {
public:
    /// `networks`: the model's networks in `residency`.
    Adapters(const formats::OpenedModel & opened, std::vector<models::Network *> networks, PartResidency & residency);

    /// Sets the adapters for all calls without their own; reads their files again. Throws like apply(), and then changes nothing.
    Json set(AdapterUses uses, const JobContext & job);
    /// The adapters of one call, for its lifetime.
    class Call {
    public:
        Call(Adapters & adapters, const std::optional<AdapterUses> & uses, const JobContext & job);
        ~Call() { adapters_.wanted_ = adapters_.own_; }
        Call(const Call &) = delete;
        Call & operator=(const Call &) = delete;
        /// Per file { path, name, matched, unmatched, skipped }.
        const Json & report() const { return adapters_.report_; }

    private:
        Adapters & adapters_;
    };
    /// Applies the requested adapters to the networks, if others are applied. Throws io, model_format; unsupported_model for an
    /// adapter of another kind of model; out_of_memory.
    void apply(const JobContext & job);
    /// Removes them from the networks; apply() applies them again.
    void drop();

private:
    void put(const JobContext & job);
    std::shared_ptr<const graph::AdapterWeights> weights_for(const models::Network & network,
                                                             const std::vector<formats::MatchedAdapter> & all,
                                                             const JobContext & job) const;

    const formats::OpenedModel & opened_;
    const std::vector<models::Network *> networks_;
    PartResidency & residency_;
    std::unique_ptr<formats::LayerNames> names_;  // created with the first adapter
    AdapterUses own_, wanted_, applied_;
    Json report_ = Json::array();
};

}  // namespace latent::pipeline
