#pragma once

#include <memory>
#include <string>
#include <vector>

#include "formats/adapters/match.h"
#include "formats/model_files.h"
#include "pipeline/memory/part_residency.h"
#include "pipeline/requests.h"

namespace latent::pipeline {

/// The adapters that the networks of one model run with: opens their files, finds their layers, and puts their products beside
/// the weights. Used from the device's job thread.
class Adapters {
public:
    /// `networks`: those of the model that are in `residency`.
    Adapters(const formats::OpenedModel & opened, std::vector<models::Network *> networks, PartResidency & residency);

    /// Those of all calls that name none themselves; their files are read again. Throws as apply(); then nothing has changed.
    Json set(AdapterUses uses, const JobContext & job);
    /// Those of one call, for as long as it lives.
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
    /// Puts those that are wanted into the networks, where others are there. Throws io, model_format; unsupported_model for an
    /// adapter of another kind of model, out_of_memory, device if they do not run.
    void apply(const JobContext & job);
    /// Frees what is in the networks; apply() puts it there again.
    void drop();

private:
    void put(const JobContext & job);
    std::shared_ptr<const graph::AdapterWeights> weights_for(const models::Network & network,
                                                             const std::vector<formats::MatchedAdapter> & all,
                                                             const JobContext & job) const;

    const formats::OpenedModel & opened_;
    const std::vector<models::Network *> networks_;
    PartResidency & residency_;
    std::unique_ptr<formats::LayerNames> names_;  // once there are adapters
    AdapterUses own_, wanted_, applied_;
    Json report_ = Json::array();
};

}  // namespace latent::pipeline
