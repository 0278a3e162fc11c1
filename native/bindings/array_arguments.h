#pragma once

#include <optional>
#include <vector>

#include "bindings/node_addon_api.h"
#include "core/json.h"
#include "pipeline/pipeline.h"

namespace latent::bindings {

// Arrays that travel beside a JSON request, whose shapes are inside it: copied, and their shapes held against their sizes.

/// A picture [n, c, h, w] that must be there.
pipeline::ImageTensor image_argument(const std::vector<int64_t> & shape, const Napi::Value & value, const char * name);

/// One of the arrays, e.g. "image" with "imageShape"; empty where neither is given. One without the other throws.
std::optional<pipeline::ImageTensor> optional_image(const Napi::Value & arrays, const char * key, const Json & request,
                                                    const char * shape_key);

/// NativeConditionArrays into the request that they belong to.
void add_input_arrays(const Napi::Value & arrays, const Json & request, pipeline::Inputs & inputs);

/// Codes [n, h, w].
pipeline::Codes codes_argument(const std::vector<int64_t> & shape, const Napi::Value & value);

}  // namespace latent::bindings
