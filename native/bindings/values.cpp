#include "bindings/values.h"

#include "bindings/env_data.h"

namespace latent::bindings {
namespace {

template <typename T>
Napi::Value copy_to_js(Napi::Env env, napi_typedarray_type type, const std::vector<T> & values) {
    void * data = nullptr;
    const Napi::Value array = EnvData::of(env).new_array(env, type, values.size(), &data);
    EnvData::of(env).fill(data, values.data(), values.size() * sizeof(T));
    return array;
}

}  // namespace

Napi::Value bytes_to_js(Napi::Env env, const std::vector<uint8_t> & bytes) {
    return copy_to_js(env, napi_uint8_array, bytes);
}

Napi::Value floats_to_js(Napi::Env env, const std::vector<float> & values) {
    return copy_to_js(env, napi_float32_array, values);
}

Napi::Value integers_to_js(Napi::Env env, const std::vector<int32_t> & values) {
    return copy_to_js(env, napi_int32_array, values);
}

Napi::Value picture_to_js(Napi::Env env, const Picture & picture) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("width", picture.width);
    object.Set("height", picture.height);
    object.Set("channels", picture.channels);
    object.Set("data", bytes_to_js(env, picture.data));
    return object;
}

Napi::Value pictures_to_js(Napi::Env env, const std::vector<Picture> & pictures) {
    Napi::Array array = Napi::Array::New(env, pictures.size());
    for (size_t i = 0; i < pictures.size(); ++i) array.Set(static_cast<uint32_t>(i), picture_to_js(env, pictures[i]));
    return array;
}

Napi::Value tensor_to_js(Napi::Env env, const pipeline::ImageTensor & tensor) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("shape", shape_to_js(env, tensor.shape));
    object.Set("data", floats_to_js(env, tensor.data));
    return object;
}

Napi::Value codes_to_js(Napi::Env env, const pipeline::Codes & codes) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("shape", shape_to_js(env, codes.shape));
    object.Set("codes", integers_to_js(env, codes.data));
    return object;
}

std::string json_text(const Json & json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Napi::Value json_to_js(Napi::Env env, const Json & json) {
    return Napi::String::New(env, json_text(json));
}

}  // namespace latent::bindings
