#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "check.h"
#include "formats/convert/convert.h"
#include "formats/model_files.h"
#include "formats/open.h"
#include "golden.h"

// Weights in 8-bit floats with scales beside them: value = number * scale, in every part; what stands beside weights and is not
// understood is refused by the part that has it.

using latent::DType;
using latent::ErrorCode;
using latent::TensorInfo;
using latent::formats::ModelParts;
using latent::formats::open_model;
using latent::formats::OpenedModel;

namespace {

std::vector<uint8_t> bytes_of(const std::vector<float> & values) {
    std::vector<uint8_t> bytes(values.size() * sizeof(float));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
}

/// The nearest numbers in e4m3 of values of at most 448.
std::vector<uint8_t> to_e4m3(const std::vector<float> & values) {
    static const std::vector<std::pair<float, uint8_t>> numbers = [] {
        std::vector<std::pair<float, uint8_t>> all;
        for (int i = 0; i < 256; ++i) {
            const uint8_t bits = static_cast<uint8_t>(i);
            float value;
            latent::convert_to_f32(DType::f8_e4m3, &bits, &value, 1);
            if (std::isfinite(value)) all.push_back({value, bits});
        }
        std::sort(all.begin(), all.end());
        return all;
    }();
    std::vector<uint8_t> out;
    for (const float value : values) {
        const auto above = std::lower_bound(numbers.begin(), numbers.end() - 1, std::make_pair(value, uint8_t{0}));
        const auto below = above == numbers.begin() ? above : above - 1;
        out.push_back(value - below->first < above->first - value ? below->second : above->second);
    }
    return out;
}

enum class Style { comfy, rows };  // scale_weight and scaled_fp8 · weight_scale per output channel and comfy_quant

struct Scaled {
    std::vector<golden::FileTensor> tensors;
    std::map<std::string, std::vector<float>> values;  // of the scaled ones, by their names in the file
};

/// The tensors of a file, its matrices as scaled 8-bit floats. Position and token tables stay.
Scaled scale_file(const std::string & path, Style style) {
    Scaled out;
    const auto source = latent::formats::open_model_file(path);
    for (const TensorInfo & tensor : source->tensors()) {
        const bool fused = tensor.name.size() > 15 && tensor.name.compare(tensor.name.size() - 15, 15, ".in_proj_weight") == 0;
        const bool weight = fused || (tensor.name.size() > 7 && tensor.name.compare(tensor.name.size() - 7, 7, ".weight") == 0);
        golden::FileTensor copy{tensor.name, tensor.dtype, tensor.shape, {}};
        if (!weight || tensor.shape.size() < 2 || tensor.elements() > 200000 || (fused && style == Style::comfy)) {
            copy.data.resize(static_cast<size_t>(tensor.bytes));
            source->read(tensor, copy.data.data());
            out.tensors.push_back(std::move(copy));
            continue;
        }
        std::vector<float> values = source->read_f32(tensor);
        const size_t rows = style == Style::rows ? static_cast<size_t>(tensor.shape[0]) : 1, row = values.size() / rows;
        std::vector<float> scales;
        for (size_t r = 0; r < rows; ++r) {
            float largest = 1e-6f;
            for (size_t i = 0; i < row; ++i) largest = std::max(largest, std::fabs(values[r * row + i]));
            scales.push_back(largest / 400.0f);
            for (size_t i = 0; i < row; ++i) values[r * row + i] /= scales.back();
        }
        copy.dtype = DType::f8_e4m3;
        copy.data = to_e4m3(values);
        latent::convert_to_f32(copy.dtype, copy.data.data(), values.data(), static_cast<int64_t>(values.size()));
        for (size_t i = 0; i < values.size(); ++i) values[i] *= scales[i / row];
        out.values[tensor.name] = values;
        const std::string stem = fused ? tensor.name : tensor.name.substr(0, tensor.name.size() - 7);
        std::vector<int64_t> shape;
        if (style == Style::rows) shape = {tensor.shape[0], 1};
        const std::string name =
            fused ? tensor.name + "_scale" : stem + (style == Style::comfy ? ".scale_weight" : ".weight_scale");
        out.tensors.push_back({name, DType::f32, shape, bytes_of(scales)});
        if (style == Style::comfy) {
            out.tensors.push_back({stem + ".scale_input", DType::f32, {}, bytes_of({0.5f})});
        } else if (!fused) {
            const std::string format = "{\"format\": \"float8_e4m3fn\"}";
            out.tensors.push_back({stem + ".comfy_quant",
                                   DType::u8,
                                   {static_cast<int64_t>(format.size())},
                                   std::vector<uint8_t>(format.begin(), format.end())});
        }
        out.tensors.push_back(std::move(copy));
    }
    if (style == Style::comfy) out.tensors.push_back({"model.diffusion_model.scaled_fp8", DType::f8_e4m3, {2}, {0, 0}});
    return out;
}

OpenedModel open_file(const golden::Case & c, const std::string & path) {
    ModelParts parts;
    parts.model = path;
    parts.config = c.config();
    return open_model(parts);
}

int starts_of(const OpenedModel & model, const std::string & prefix) {
    const auto & tensors = model.tensors->tensors();
    return static_cast<int>(std::count_if(tensors.begin(), tensors.end(), [&](const TensorInfo & tensor) {
        return tensor.scaled_from && tensor.name.compare(0, prefix.size(), prefix) == 0;
    }));
}

}  // namespace

TEST(scaled_weights_in_every_part_and_through_convert) {
    const golden::Case c = golden::load("sd1");
    for (const Style style : {Style::comfy, Style::rows}) {
        const golden::TempFolder folder;
        const Scaled scaled = scale_file(golden::write_layout(c, "compvis", folder.path()), style);
        golden::write_safetensors(folder / "scaled.safetensors", scaled.tensors);
        const OpenedModel model = open_file(c, folder / "scaled.safetensors");
        for (const char * part : {"model.diffusion_model.", "first_stage_model.", "cond_stage_model."})
            CHECK(starts_of(model, part) > 5);
        CHECK(model.tensors->find("first_stage_model.post_quant_conv.weight")->scaled_from == DType::f8_e4m3);
        latent::formats::ConvertOptions options;
        options.type = DType::f32;
        const auto report = convert(model, folder / "f32.gguf", options, {});
        CHECK(report.source_bytes < 2 * report.bytes / 3);  // 8 bits where the file that is written has 32
        ModelParts parts;
        parts.model = folder / "f32.gguf";
        const OpenedModel converted = open_model(parts);
        for (const auto & [name, values] : scaled.values) {
            const TensorInfo * tensor = model.tensors->find(name);
            if (!tensor || tensor->scaled_from != DType::f8_e4m3 || model.tensors->read_f32(*tensor) != values)
                check::fail(__FILE__, __LINE__, "scaled values of " + name);
            const TensorInfo * written = converted.tensors->find(name);
            if (!written || written->scaled_from || converted.tensors->read_f32(*written) != values)
                check::fail(__FILE__, __LINE__, "converted values of " + name);
        }
    }
}

TEST(scaled_weights_that_are_split_or_turned) {  // OpenCLIP keeps q, k and v in one tensor
    const golden::Case c = golden::load("sd2-v");
    const golden::TempFolder folder;
    const Scaled scaled = scale_file(golden::write_layout(c, "compvis", folder.path()), Style::rows);
    golden::write_safetensors(folder / "scaled.safetensors", scaled.tensors);
    const OpenedModel model = open_file(c, folder / "scaled.safetensors");
    int compared = 0;
    for (const auto & [name, values] : scaled.values) {
        const size_t at = name.find(".attn.in_proj_weight");
        if (at == std::string::npos) continue;
        const std::string block = name.substr(0, at), layer = block.substr(block.rfind('.') + 1);
        for (int third = 0; third < 3; ++third) {
            const char * const names[] = {"q_proj", "k_proj", "v_proj"};
            const std::string to =
                "cond_stage_model.transformer.text_model.encoder.layers." + layer + ".self_attn." + names[third] + ".weight";
            const TensorInfo * tensor = model.tensors->find(to);
            const size_t part = values.size() / 3;
            const std::vector<float> wanted(values.begin() + third * part, values.begin() + (third + 1) * part);
            CHECK(tensor && model.tensors->read_f32(*tensor) == wanted);
            ++compared;
        }
    }
    CHECK(compared > 0);
}

TEST(what_stands_beside_a_weight_is_never_ignored) {
    const golden::Case c = golden::load("sd1");
    const golden::TempFolder folder;
    const Scaled scaled = scale_file(golden::write_layout(c, "compvis", folder.path()), Style::comfy);
    const std::string stems[] = {"model.diffusion_model.middle_block.0.in_layers.2", "first_stage_model.post_quant_conv",
                                 "first_stage_model.encoder.mid.block_1.conv1",
                                 "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1"};
    const std::pair<const char *, std::vector<int64_t>> beside[] = {
        {".SCB", {4}}, {".weight_zero_point", {1}}, {".weight_scale_2", {}}, {".weight_scale", {2, 2}}, {".comfy_quant", {1}}};
    for (const std::string & stem : stems) {
        for (const auto & [end, shape] : beside) {
            std::vector<golden::FileTensor> tensors = scaled.tensors;
            TensorInfo info;
            info.shape = shape;
            tensors.push_back({stem + end, DType::f32, shape, std::vector<uint8_t>(static_cast<size_t>(info.elements()) * 4)});
            golden::write_safetensors(folder / "beside.safetensors", tensors);
            std::string message;
            try {
                open_file(c, folder / "beside.safetensors");
            } catch (const latent::Error & error) {
                if (error.code() == ErrorCode::unsupported_model) message = error.what();
            }
            if (message.find(stem + end) == std::string::npos) check::fail(__FILE__, __LINE__, stem + end + ": " + message);
        }
        // A second scale, and one that is no number.
        std::vector<golden::FileTensor> tensors = scaled.tensors;
        tensors.push_back({stem + ".weight_scale", DType::f32, {}, bytes_of({1.0f})});
        golden::write_safetensors(folder / "beside.safetensors", tensors);
        CHECK_THROWS(open_file(c, folder / "beside.safetensors"), ErrorCode::unsupported_model);
        tensors.pop_back();
        for (golden::FileTensor & tensor : tensors) {
            if (tensor.name == stem + ".scale_weight") tensor.data = bytes_of({std::nanf("")});
        }
        golden::write_safetensors(folder / "beside.safetensors", tensors);
        CHECK_THROWS(open_file(c, folder / "beside.safetensors"), ErrorCode::unsupported_model);
    }
    // Of a part that is not taken nothing has to be understood.
    std::vector<golden::FileTensor> tensors = scaled.tensors;
    tensors.push_back({stems[3] + ".SCB", DType::f32, {1}, bytes_of({1.0f})});
    golden::write_safetensors(folder / "beside.safetensors", tensors);
    ModelParts parts;
    parts.model = folder / "beside.safetensors";
    parts.first_stage_only = true;
    CHECK(open_model(parts).spec.first_stage.has_value());
}
