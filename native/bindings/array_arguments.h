#pragma once

#include <functional>
#include <vector>

#include "bindings/env_data.h"
#include "bindings/node_addon_api.h"
#include "core/json.h"
#include "pipeline/pipeline.h"

namespace latent::bindings {

// Arrays passed next to a JSON request that contains their shapes. Shapes are checked against sizes immediately; the job copies
// the arrays on its thread, and `options` keeps them until then.

template <typename T>
using Later = std::function<T()>;

/// The values of an array.
Later<std::vector<float>> floats_later(const Napi::Value & value, const char * name, EnvData::StartOptions & options);

/// A required image [n, c, h, w].
Later<pipeline::ImageTensor> image_argument(const std::vector<int64_t> & shape, const Napi::Value & value, const char * name,
                                            EnvData::StartOptions & options);

/// One of the arrays, e.g. "image" with "imageShape"; empty if neither is given. One without the other throws.
Later<pipeline::ImageTensor> optional_image(const Napi::Value & arrays, const char * key, const Json & request,
                                            const char * shape_key, EnvData::StartOptions & options);

/// NativeConditionArrays, stored in their request.
std::function<void(pipeline::Inputs &)> input_arrays(const Napi::Value & arrays, const Json & request,
                                                     EnvData::StartOptions & options);

/// Codes [n, h, w].
Later<pipeline::Codes> codes_argument(const std::vector<int64_t> & shape, const Napi::Value & value,
                                      EnvData::StartOptions & options);

}  // namespace latent::bindings
