#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/tensor_source.h"

namespace latent::formats {

/// One scale for a whole tensor, or one per row of its outermost dimension.
using ScalePtr = std::shared_ptr<const std::vector<float>>;

/// Tensors that scale the values of others: `X.scale_weight` with `scaled_fp8` (ComfyUI), `X.weight_scale` (diffusers, ModelOpt,
/// ComfyUI with `X.comfy_quant`). The value of a weight is its number times the scale. Scales of activations (`X.scale_input`,
/// `X.input_scale`) are for fp8 arithmetic and do not affect the weights.
class Scales {
public:
    /// Reads the scales of a source. Unsupported ones are left for check_parameters to reject: scales per block, of quantised
    /// types, not finite, and formats of `comfy_quant` other than value times scale.
    explicit Scales(const TensorSource & source);

    /// The scale of a tensor of the source, null if it has none.
    ScalePtr of(const TensorInfo & tensor) const;
    /// True for scales and their companion tensors, which no network reads.
    bool explain(const TensorInfo & tensor) const { return explained_.count(tensor.index) > 0; }

private:
    bool add(const TensorSource & source, const TensorInfo & scale, const TensorInfo & weight);

    std::unordered_map<size_t, ScalePtr> by_weight_;
    std::unordered_set<size_t> explained_;
};

/// Whether a tensor of this name usually changes the meaning of the weight next to it.
bool is_quantisation_name(const std::string & name);

}  // namespace latent::formats
