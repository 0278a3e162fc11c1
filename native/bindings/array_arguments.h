#pragma once

#include <functional>
#include <vector>

#include "bindings/env_data.h"
#include "bindings/node_addon_api.h"
#include "core/json.h"
#include "pipeline/pipeline.h"

namespace latent::bindings {

// Arrays that travel beside a JSON request, whose shapes are inside it. Their shapes are held against their sizes at once; they
// are copied by the job, on its thread, and `options` keeps them until then.

template <typename T>
using Later = std::function<T()>;

/// Numbers of an array.
Later<std::vector<float>> floats_later(const Napi::Value & value, const char * name, EnvData::StartOptions & options);

/// An image [n, c, h, w] that must be there.
Later<pipeline::ImageTensor> image_argument(const std::vector<int64_t> & shape, const Napi::Value & value, const char * name,
                                            EnvData::StartOptions & options);

/// One of the arrays, e.g. "image" with "imageShape"; empty if neither is given. One without the other throws.
Later<pipeline::ImageTensor> optional_image(const Napi::Value & arrays, const char * key, const Json & request,
                                            const char * shape_key, EnvData::StartOptions & options);

/// NativeConditionArrays, to be put into the request that they belong to.
std::function<void(pipeline::Inputs &)> input_arrays(const Napi::Value & arrays, const Json & request,
                                                     EnvData::StartOptions & options);

/// Codes [n, h, w].
Later<pipeline::Codes> codes_argument(const std::vector<int64_t> & shape, const Napi::Value & value,
                                      EnvData::StartOptions & options);

}  // namespace latent::bindings
