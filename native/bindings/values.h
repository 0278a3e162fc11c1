#pragma once

#include <array>
#include <vector>

#include "bindings/node_addon_api.h"
#include "core/job.h"
#include "pipeline/pipeline.h"

namespace latent::bindings {

// Results as JavaScript values. Arrays belong to JavaScript and are filled by copying, because Electron forbids external buffers.
Napi::Value bytes_to_js(Napi::Env env, const std::vector<uint8_t> & bytes);
Napi::Value floats_to_js(Napi::Env env, const std::vector<float> & values);
Napi::Value integers_to_js(Napi::Env env, const std::vector<int32_t> & values);
template <size_t N>
Napi::Array shape_to_js(Napi::Env env, const std::array<int64_t, N> & sizes) {
    Napi::Array shape = Napi::Array::New(env, N);
    for (size_t i = 0; i < N; ++i) shape.Set(static_cast<uint32_t>(i), static_cast<double>(sizes[i]));
    return shape;
}
Napi::Value picture_to_js(Napi::Env env, const Picture & picture);
Napi::Value pictures_to_js(Napi::Env env, const std::vector<Picture> & pictures);
Napi::Value tensor_to_js(Napi::Env env, const pipeline::ImageTensor & tensor);
Napi::Value codes_to_js(Napi::Env env, const pipeline::Codes & codes);
/// JSON text; bytes that are not UTF-8 are replaced.
Napi::Value json_to_js(Napi::Env env, const Json & json);
std::string json_text(const Json & json);

}  // namespace latent::bindings
