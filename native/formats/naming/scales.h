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

/// Tensors that stand beside others and change what their numbers mean: `X.scale_weight` with `scaled_fp8` (ComfyUI),
/// `X.weight_scale` (diffusers, ModelOpt, ComfyUI with `X.comfy_quant`). The value of a weight is its number times the scale.
/// Scales of activations (`X.scale_input`, `X.input_scale`) are for products in 8-bit floats and change no weight.
class Scales {
public:
    /// Reads the scales of a source. What is not understood stays unexplained, for the part that has it to refuse: scales of
    /// blocks and of quantised types, those that are not finite, formats of `comfy_quant` that are not a number times a scale.
    explicit Scales(const TensorSource & source);

    /// The scale of a tensor of the source, null where it has none.
    ScalePtr of(const TensorInfo & tensor) const;
    /// True of the scales themselves and of what stands with them, which no network reads.
    bool explain(const TensorInfo & tensor) const { return explained_.count(tensor.index) > 0; }

private:
    bool add(const TensorSource & source, const TensorInfo & scale, const TensorInfo & weight);

    std::unordered_map<size_t, ScalePtr> by_weight_;
    std::unordered_set<size_t> explained_;
};

/// Whether a name is that of something which usually changes the meaning of the weight beside it.
bool is_quantisation_name(const std::string & name);

}  // namespace latent::formats
