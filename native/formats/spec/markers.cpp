#include "formats/spec/markers.h"

#include <algorithm>
#include <cmath>

#include "core/json.h"

namespace latent::formats {

namespace {

constexpr const char * marker_names[] = {"v_pred", "ztsnr", "edm_mean", "edm_std", "edm_vpred.sigma_max", "edm_vpred.sigma_min"};

/// The number in a marker, or `fallback` if it has no usable one.
double number_in(const TensorSource & source, const char * name, double fallback) {
    const TensorInfo * tensor = source.find(name);
    if (!tensor || tensor->elements() != 1 || dtype_is_quantised(tensor->dtype) || !dtype_is_readable(tensor->dtype))
        return fallback;
    const double value = source.read_f32(*tensor).at(0);
    return std::isfinite(value) && value > 0 && value < 1e6 ? value : fallback;
}

/// Common tools write "v" and "epsilon"; longer spellings are accepted too.
std::string prediction_in_metadata(const TensorSource & source) {
    const Json metadata = parse_json(source.metadata_json(), source.name() + ": metadata");
    const auto found = metadata.find("modelspec.prediction_type");
    if (found == metadata.end() || !found->is_string()) return "";
    const std::string & word = found->get_ref<const std::string &>();
    if (word == "v" || word == "v_prediction" || word == "v-prediction") return "v";
    return word == "epsilon" || word == "eps" ? "eps" : "";
}

bool schedule_ends_at_zero(const TensorSource & source) {
    constexpr int64_t least = 2, most = 100000;
    const TensorInfo * alphas = source.find("alphas_cumprod");
    if (!alphas || alphas->shape.size() != 1 || alphas->elements() < least || alphas->elements() > most) return false;
    if (dtype_is_quantised(alphas->dtype) || !dtype_is_readable(alphas->dtype)) return false;
    const std::vector<float> values = source.read_f32(*alphas);
    // Some tools store a tiny number instead of 0 (5e-8, 6e-8); the usual schedule ends at 5e-3.
    return values.front() > 0.5f && values.back() >= 0 && values.back() < 1e-6f;
}

}  // namespace

bool is_prediction_marker(const std::string & name) {
    return std::find(std::begin(marker_names), std::end(marker_names), name) != std::end(marker_names);
}

PredictionMarkers prediction_markers(const TensorSource & source) {
    PredictionMarkers markers;
    if (source.has("edm_mean") && source.has("edm_std")) {
        markers.type = "edm";
        markers.edm.emplace();
    } else if (source.has("edm_vpred.sigma_max")) {
        markers.type = "v";
        const double low = number_in(source, "edm_vpred.sigma_min", 0.002);
        const double high = number_in(source, "edm_vpred.sigma_max", 120);
        markers.edm = EdmSchedule{low < high ? low : 0.002, high > 0.002 ? high : 120, 1.0};
    } else if (source.has("v_pred")) {
        markers.type = "v";
        markers.zero_terminal_snr = source.has("ztsnr");
    } else if (const std::string word = prediction_in_metadata(source); !word.empty()) {
        markers.type = word;
        markers.zero_terminal_snr = source.has("ztsnr");
    } else if (schedule_ends_at_zero(source)) {
        markers.type = "v";  // eps cannot be trained at zero SNR, so such a model predicts v
        markers.zero_terminal_snr = markers.from_schedule = true;
    }
    return markers;
}

void apply_markers(Detection & detection, const PredictionMarkers & markers) {
    if (markers.type.empty()) return;
    ModelSpec & spec = detection.spec;
    spec.prediction = prediction_from_name(markers.type);
    if (markers.zero_terminal_snr) spec.schedule.zero_terminal_snr = true;
    if (!markers.edm) return;
    spec.schedule.edm = markers.edm;
    if (spec.prediction == Prediction::edm) use_edm_statistics(detection);
    apply_edm_defaults(spec);
}

void use_edm_statistics(Detection & detection) {
    ModelSpec & spec = detection.spec;
    if (spec.latent_channels() != 4) return;
    // The values of Playground v2.5, regardless of the tensors' contents: other programs read only their names.
    spec.latents_mean = {-1.6574, 1.886, -1.383, 2.5155};
    spec.latents_std = {8.4927, 5.9022, 6.5498, 5.2299};
    spec.scale_factor = 0.5;
    detection.unknown.erase("/scaleFactor");
}

}  // namespace latent::formats
