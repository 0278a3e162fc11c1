#include "bindings/array_arguments.h"

#include "bindings/arguments.h"
#include "bindings/requests.h"

namespace latent::bindings {
namespace {

/// The array and its shape of `rank` sizes; false where neither is given.
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

pipeline::ImageTensor image_argument(const std::vector<int64_t> & shape, const Napi::Value & value, const char * name) {
    const Span<float> data = floats(value, name);
    return {shape4(shape, name, data.size()), {data.begin(), data.end()}};
}

std::optional<pipeline::ImageTensor> optional_image(const Napi::Value & arrays, const char * key, const Json & request,
                                                    const char * shape_key) {
    Napi::Value value;
    std::vector<int64_t> shape;
    if (!find_array(arrays, key, request, shape_key, value, shape)) return std::nullopt;
    return image_argument(shape, value, key);
}

void add_input_arrays(const Napi::Value & arrays, const Json & request, pipeline::Inputs & inputs) {
    inputs.image = optional_image(arrays, "image", request, "imageShape");
    inputs.mask = optional_image(arrays, "mask", request, "maskShape");
    Napi::Value value;
    std::vector<int64_t> shape;
    if (find_array(arrays, "embeddings", request, "embeddingsShape", value, shape)) {
        const Span<float> data = floats(value, "embeddings");
        check_shape(shape, 2, "embeddingsShape", data.size());
        inputs.embeddings = pipeline::EmbeddingRows{shape[0], shape[1], {data.begin(), data.end()}};
    }
    value = Napi::Value();
    if (find_array(arrays, "labels", request, "labelsShape", value, shape)) {
        const Span<int32_t> data = integers(value, "labels");
        check_shape(shape, 2, "labelsShape", data.size());
        inputs.labels = pipeline::LabelMap{shape[0], shape[1], {data.begin(), data.end()}};
    }
}

pipeline::Codes codes_argument(const std::vector<int64_t> & shape, const Napi::Value & value) {
    const Span<int32_t> data = integers(value, "codes");
    check_shape(shape, 3, "shape", data.size());
    return {{shape[0], shape[1], shape[2]}, {data.begin(), data.end()}};
}

}  // namespace latent::bindings
