#include "pipeline/conditioners/label_conditioner.h"

#include "pipeline/messages.h"

namespace latent::pipeline {

LabelConditioner::LabelConditioner(std::unique_ptr<models::SpatialRescaler> rescaler, PartResidency & residency)
    : rescaler_(std::move(rescaler)), residency_(residency) {}

std::vector<std::pair<const models::Network *, graph::GraphMeasure>> LabelConditioner::measure(int64_t width,
                                                                                               int64_t height) const {
    return {{rescaler_.get(), rescaler_->measure(height, width)}};
}

ConditioningForm LabelConditioner::form() const {
    ConditioningForm form;
    form.channels = rescaler_->config().out_channels;
    return form;
}

std::string LabelConditioner::misfit(const ModelSpec & spec) const {
    return rescaler_->factor() == spec.downsampling() ? "" : "its label map is not reduced to the size of the latents";
}

void LabelConditioner::info(Json & out) const {
    out["labels"] = rescaler_->config().classes;
}

std::optional<InputSize> LabelConditioner::size(const Inputs & inputs) const {
    if (!inputs.labels) return std::nullopt;
    return InputSize{"label map", inputs.labels->width, inputs.labels->height};
}

void LabelConditioner::check(const Inputs & inputs, int64_t) const {
    const LabelMap & labels = *inputs.labels;
    const int64_t classes = rescaler_->config().classes;
    if (labels.height < 1 || labels.width < 1 || labels.data.size() != static_cast<size_t>(labels.height * labels.width)) {
        refuse("labels: the number of labels does not match the map's size");
    }
    for (const int32_t label : labels.data) {
        if (label >= 0 && label < classes) continue;
        refuse("labels: " + std::to_string(label) + " is outside 0.." + std::to_string(classes - 1));
    }
}

void LabelConditioner::encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) {
    const LabelMap & labels = *inputs.labels;
    residency_.use(*rescaler_, context.job);
    const int64_t factor = rescaler_->factor();
    Latents channels{{1, rescaler_->config().out_channels, labels.height / factor, labels.width / factor}, {}};
    channels.data.resize(elements(channels.shape));
    residency_.run_finite(*rescaler_, [&]() -> Span<const float> {
        rescaler_->forward(labels.data, labels.height, labels.width, channels.data, context.job);
        return channels.data;
    });
    out.concat = std::move(channels);
}

}  // namespace latent::pipeline
