#pragma once

#include <optional>
#include <string>

#include "core/tensor_source.h"
#include "formats/spec/detect.h"

namespace latent::formats {

/// What a file tells about its network's prediction besides the weights. Fine-tunes of one architecture may differ in nothing
/// else.
struct PredictionMarkers {
    std::string type;                // eps | v | edm, "" if unknown
    bool zero_terminal_snr = false;  // the schedule is rescaled so that its last alpha is 0
    std::optional<EdmSchedule> edm;  // trained on continuous noise levels
    /// Seen in the stored schedule alone, which a scheduler's configuration overrides.
    bool from_schedule = false;
};

/// In this order: tensors named v_pred, ztsnr, edm_mean with edm_std, edm_vpred.sigma_max (mostly without elements: only their
/// names count, but for the range), the metadata modelspec.prediction_type, and a stored alphas_cumprod that ends at 0.
PredictionMarkers prediction_markers(const TensorSource & source);

/// Whether a tensor is one of those markers rather than a weight.
bool is_prediction_marker(const std::string & name);

/// Overrides the detected values by the markers.
void apply_markers(Detection & detection, const PredictionMarkers & markers);
/// The scaling of latents that belongs to the marker edm_mean, for first stages of four channels.
void use_edm_statistics(Detection & detection);

}  // namespace latent::formats
