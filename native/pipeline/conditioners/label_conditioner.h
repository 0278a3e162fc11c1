#pragma once

#include <memory>

#include "models/spatial_rescaler.h"
#include "pipeline/conditioners/conditioner.h"

namespace latent::pipeline {

/// Turns a label per pixel into channels concatenated to the latents, through SpatialRescaler (semantic synthesis).
class LabelConditioner final : public Conditioner {
public:
    LabelConditioner(std::unique_ptr<models::SpatialRescaler> rescaler, PartResidency & residency);

    std::vector<models::Network *> networks() const override { return {rescaler_.get()}; }
    std::vector<std::pair<const models::Network *, graph::GraphMeasure>> measure(int64_t width, int64_t height) const override;
    std::string takes() const override { return "a label map"; }
    std::vector<InputUse> reads() const override { return {{Input::labels}}; }
    ConditioningForm form() const override;
    std::string misfit(const ModelSpec & spec) const override;
    void info(Json & out) const override;
    std::optional<InputSize> size(const Inputs & inputs) const override;
    void check(const Inputs & inputs, int64_t pictures) const override;
    void encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) override;

private:
    std::unique_ptr<models::SpatialRescaler> rescaler_;
    PartResidency & residency_;
};

}  // namespace latent::pipeline
