#include "formats/naming/scales.h"

#include <algorithm>
#include <cmath>

#include "core/json.h"

namespace latent::formats {

namespace {

bool ends_with(const std::string & text, const std::string & end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// "a.b.scale_weight" -> "a.b." where it ends so.
std::string without(const std::string & name, const std::string & end) {
    return name.substr(0, name.size() - end.size());
}

/// The tensor that the scale `name` applies to; null if it is not a scale.
const TensorInfo * scaled_by(const TensorSource & source, const std::string & name) {
    if (ends_with(name, ".scale_weight")) return source.find(without(name, "scale_weight") + "weight");
    return ends_with(name, "_scale") ? source.find(without(name, "_scale")) : nullptr;
}

/// ComfyUI's description of how a layer is stored: {"format": "float8_e4m3fn"} as bytes of text.
bool is_scaled_format(const TensorSource & source, const TensorInfo & tensor) {
    if ((tensor.dtype != DType::u8 && tensor.dtype != DType::i8) || tensor.bytes == 0 || tensor.bytes > 4096) return false;
    std::string text(static_cast<size_t>(tensor.bytes), '\0');
    source.read(tensor, &text[0]);
    const Json parsed = Json::parse(text, nullptr, false);
    if (!parsed.is_object() || !parsed.contains("format") || !parsed["format"].is_string()) return false;
    const std::string format = parsed["format"].get<std::string>();
    return format == "float8_e4m3fn" || format == "float8_e5m2" || format == "int8_tensorwise";
}

}  // namespace

Scales::Scales(const TensorSource & source) {
    for (const TensorInfo & tensor : source.tensors()) {
        const std::string & name = tensor.name;
        const auto beside = [&](const char * end) { return ends_with(name, end) && source.has(without(name, end) + "weight"); };
        const TensorInfo * weight = scaled_by(source, name);
        const bool explained = weight                  ? add(source, tensor, *weight)
                               : beside("comfy_quant") ? is_scaled_format(source, tensor)
                                                       : beside("scale_input") || beside("input_scale") || name == "scaled_fp8" ||
                                                             ends_with(name, ".scaled_fp8");
        if (explained) explained_.insert(tensor.index);
    }
}

bool Scales::add(const TensorSource & source, const TensorInfo & scale, const TensorInfo & weight) {
    const int64_t rows = weight.shape.empty() ? 1 : weight.shape[0], count = scale.elements();
    const bool per_row = count == rows && !scale.shape.empty() && scale.shape[0] == rows;
    if ((count != 1 && !per_row) || dtype_is_quantised(scale.dtype) || dtype_is_quantised(weight.dtype)) return false;
    const auto values = std::make_shared<std::vector<float>>(source.read_f32(scale));
    if (!std::all_of(values->begin(), values->end(), [](float value) { return std::isfinite(value); })) return false;
    return by_weight_.emplace(weight.index, values).second;
}

ScalePtr Scales::of(const TensorInfo & tensor) const {
    const auto found = by_weight_.find(tensor.index);
    return found == by_weight_.end() ? nullptr : found->second;
}

bool is_quantisation_name(const std::string & name) {
    for (const char * part : {"scale", "zero_point", "quant", "absmax", ".SCB", ".weight_format", "qweight", "qzeros"}) {
        if (name.find(part) != std::string::npos) return true;
    }
    return false;
}

}  // namespace latent::formats
