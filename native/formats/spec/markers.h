#pragma once

#include <string>

#include "core/tensor_source.h"
#include "formats/spec/detect.h"

namespace latent::formats {

/// What a file tells about its network's prediction besides the weights. Fine-tunes of one architecture may differ in nothing
/// else.
struct PredictionMarkers {
    std::string type;                                     // eps | v | edm, "" where nothing says
    bool zero_terminal_snr = false;                       // the schedule is rescaled so that its last alpha is 0
    bool edm_time = false;                                // the network takes ln(sigma) / 4 in place of a timestep
    double sigma_data = 1, sigma_min = 0, sigma_max = 0;  // of EDM
    /// Seen in the stored schedule alone, which a scheduler's configuration overrides.
    bool from_schedule = false;
};

/// In this order: tensors named v_pred, ztsnr, edm_mean with edm_std, edm_vpred.sigma_max (mostly without elements: only their
/// names count, but for the range), the metadata modelspec.prediction_type, and a stored alphas_cumprod that ends at 0.
PredictionMarkers prediction_markers(const TensorSource & source);

/// Whether a tensor is one of those markers rather than a weight.
bool is_prediction_marker(const std::string & name);

/// Throws unsupported_model for EDM models, which are recognised but do not run.
void apply_markers(Detection & detection, const PredictionMarkers & markers, const std::string & file);

}  // namespace latent::formats
