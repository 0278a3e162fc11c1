#include "bindings/array_arguments.h"

#include "bindings/arguments.h"
#include "bindings/requests.h"

namespace latent::bindings {
namespace {

/// The array and its shape of `rank` sizes; false if neither is given.
bool find_array(const Napi::Value & arrays, const char * key, const Json & request, const char * shape_key, Napi::Value & value,
                std::vector<int64_t> & shape) {
    shape = shape_field(request, shape_key);
    if (!arrays.IsUndefined() && !arrays.IsNull()) {
        if (!arrays.IsObject()) throw ArgumentTypeError("arrays must be an object");
        value = arrays.As<Napi::Object>().Get(key);
    }
    const bool given = !value.IsEmpty() && !value.IsUndefined() && !value.IsNull();
    if (given && shape.empty()) refuse(shape_key, std::string("is missing beside ") + key);
    if (!given && !shape.empty()) refuse(shape_key, std::string("is given without ") + key);
    return given;
}

}  // namespace

Later<std::vector<float>> floats_later(const Napi::Value & value, const char * name, EnvData::StartOptions & options) {
    const Span<float> data = floats(value, name);
    options.hold(value);
    return [data] { return std::vector<float>(data.begin(), data.end()); };
}

Later<pipeline::ImageTensor> image_argument(const std::vector<int64_t> & shape, const Napi::Value & value, const char * name,
                                            EnvData::StartOptions & options) {
    const Span<float> data = floats(value, name);
    const std::array<int64_t, 4> checked = shape4(shape, name, data.size());
    options.hold(value);
    return [checked, data]() -> pipeline::ImageTensor { return {checked, {data.begin(), data.end()}}; };
}

Later<pipeline::ImageTensor> optional_image(const Napi::Value & arrays, const char * key, const Json & request,
                                            const char * shape_key, EnvData::StartOptions & options) {
    Napi::Value value;
    std::vector<int64_t> shape;
    if (!find_array(arrays, key, request, shape_key, value, shape)) return nullptr;
    return image_argument(shape, value, key, options);
}

std::function<void(pipeline::Inputs &)> input_arrays(const Napi::Value & arrays, const Json & request,
                                                     EnvData::StartOptions & options) {
    const auto image = optional_image(arrays, "image", request, "imageShape", options);
    const auto mask = optional_image(arrays, "mask", request, "maskShape", options);
    const auto depth = optional_image(arrays, "depth", request, "depthShape", options);
    Napi::Value value;
    std::vector<int64_t> shape;
    Later<pipeline::EmbeddingRows> embeddings;
    if (find_array(arrays, "embeddings", request, "embeddingsShape", value, shape)) {
        const Span<float> data = floats(value, "embeddings");
        check_shape(shape, 2, "embeddingsShape", data.size());
        options.hold(value);
        embeddings = [shape, data]() -> pipeline::EmbeddingRows { return {shape[0], shape[1], {data.begin(), data.end()}}; };
    }
    value = Napi::Value();
    Later<pipeline::LabelMap> labels;
    if (find_array(arrays, "labels", request, "labelsShape", value, shape)) {
        const Span<int32_t> data = integers(value, "labels");
        check_shape(shape, 2, "labelsShape", data.size());
        options.hold(value);
        labels = [shape, data]() -> pipeline::LabelMap { return {shape[0], shape[1], {data.begin(), data.end()}}; };
    }
    return [=](pipeline::Inputs & inputs) {
        if (image) inputs.image = image();
        if (mask) inputs.mask = mask();
        if (depth) inputs.depth = depth();
        if (embeddings) inputs.embeddings = embeddings();
        if (labels) inputs.labels = labels();
    };
}

Later<pipeline::Codes> codes_argument(const std::vector<int64_t> & shape, const Napi::Value & value,
                                      EnvData::StartOptions & options) {
    const Span<int32_t> data = integers(value, "codes");
    check_shape(shape, 3, "shape", data.size());
    options.hold(value);
    return [shape, data]() -> pipeline::Codes { return {{shape[0], shape[1], shape[2]}, {data.begin(), data.end()}}; };
}

}  // namespace latent::bindings
