#include "bindings/arguments.h"

#include <algorithm>
#include <cmath>

#include "bindings/json_fields.h"

namespace latent::bindings {
namespace {

constexpr size_t max_request = size_t{256} << 20;  // a convert request contains a tokenizer's text

Napi::FunctionReference optional_function(const Napi::Object & object, const char * name) {
    const Napi::Value value = object.Get(name);
    if (value.IsUndefined() || value.IsNull()) return {};
    if (!value.IsFunction()) throw ArgumentTypeError(std::string(name) + " must be a function");
    return Napi::Persistent(value.As<Napi::Function>());
}

template <typename T>
Span<T> typed_array(const Napi::Value & value, const char * name, napi_typedarray_type wanted, const char * wanted_name) {
    napi_typedarray_type type{};
    size_t size = 0;
    void * data = nullptr;
    if (!value.IsTypedArray() || napi_get_typedarray_info(value.Env(), value, &type, &size, &data, nullptr, nullptr) != napi_ok ||
        type != wanted) {
        throw ArgumentTypeError(std::string(name) + " must be a" + (wanted_name[0] == 'I' ? "n " : " ") + wanted_name);
    }
    if (size == 0 || data == nullptr) throw Error(ErrorCode::invalid_argument, std::string(name) + " is empty");
    return {static_cast<T *>(data), size};
}

std::string string_of(const Napi::Value & value, const char * name) {
    if (!value.IsString()) throw ArgumentTypeError(std::string(name) + " must be a string");
    size_t length = 0;
    if (napi_get_value_string_utf8(value.Env(), value, nullptr, 0, &length) != napi_ok || length > max_request) {
        throw Error(ErrorCode::invalid_argument, std::string(name) + " is too long");
    }
    return value.As<Napi::String>().Utf8Value();
}

}  // namespace

Napi::Value argument(const Napi::CallbackInfo & info, size_t index) {
    return index < info.Length() ? info[index] : info.Env().Undefined();
}

std::string string_argument(const Napi::CallbackInfo & info, size_t index, const char * name) {
    return string_of(argument(info, index), name);
}

Json request_argument(const Napi::CallbackInfo & info, size_t index) {
    return request_of(argument(info, index));
}

Json request_of(const Napi::Value & value) {
    const std::string text = string_of(value, "request");
    Json request = parse_json(text, "request", ErrorCode::invalid_argument);
    if (!request.is_object()) throw Error(ErrorCode::invalid_argument, "request must be a JSON object");
    return request;
}

Callbacks callbacks_argument(const Napi::CallbackInfo & info, size_t index) {
    return callbacks_of(argument(info, index));
}

Callbacks callbacks_of(const Napi::Value & value) {
    if (value.IsUndefined() || value.IsNull()) return {};
    if (!value.IsObject()) throw ArgumentTypeError("callbacks must be an object");
    const Napi::Object object = value.As<Napi::Object>();
    return {optional_function(object, "onProgress"), optional_function(object, "onPreview")};
}

EnvData::StartOptions options_argument(const Napi::CallbackInfo & info, size_t index) {
    EnvData::StartOptions options;
    options.callbacks = callbacks_argument(info, index);
    return options;
}

Span<float> floats(Napi::Value value, const char * name, size_t length) {
    const Span<float> span = typed_array<float>(value, name, napi_float32_array, "Float32Array");
    if (length != 0 && span.size() != length) {
        throw Error(ErrorCode::invalid_argument, std::string(name) + " has " + std::to_string(span.size()) + " values, " +
                                                     std::to_string(length) + " expected");
    }
    return span;
}

Span<int32_t> integers(Napi::Value value, const char * name) {
    return typed_array<int32_t>(value, name, napi_int32_array, "Int32Array");
}

std::vector<int64_t> sizes_argument(Napi::Value value, const char * name) {
    if (!value.IsArray()) throw ArgumentTypeError(std::string(name) + " must be an array of sizes");
    const Napi::Array array = value.As<Napi::Array>();
    std::vector<int64_t> sizes;
    for (uint32_t i = 0; i < std::min<uint32_t>(array.Length(), 8); ++i) {
        const Napi::Value size = array.Get(i);
        if (!size.IsNumber()) throw ArgumentTypeError(std::string(name) + " must contain numbers");
        const double number = size.As<Napi::Number>().DoubleValue();
        if (!(number >= 1 && number <= 2147483647.0) || number != std::floor(number)) {
            throw Error(ErrorCode::invalid_argument, std::string(name) + " must contain positive integers");
        }
        sizes.push_back(static_cast<int64_t>(number));
    }
    return sizes;
}

std::array<int64_t, 4> shape4_argument(Napi::Value value, const char * name, size_t elements) {
    return shape4(sizes_argument(value, name), name, elements);
}

}  // namespace latent::bindings
