#include <cmath>
#include <fstream>

#include "check.h"
#include "core/path.h"
#include "formats/convert/convert.h"
#include "formats/convert/quantise.h"
#include "golden.h"

using latent::DType;
using latent::Error;
using latent::ErrorCode;
using latent::JobContext;
using latent::Json;
using latent::Phase;
using latent::TensorInfo;
using latent::formats::convert;
using latent::formats::ConvertOptions;
using latent::formats::ConvertReport;
using latent::formats::ModelParts;
using latent::formats::open_model;
using latent::formats::OpenedModel;

namespace {

OpenedModel open_sd1(const golden::TempFolder & folder) {
    const golden::Case c = golden::load("sd1");
    ModelParts parts;
    parts.model = golden::write_layout(c, "compvis", folder.path());
    parts.config = c.config();
    return open_model(parts);
}

OpenedModel reopen(const std::string & path) {
    ModelParts parts;
    parts.model = path;
    return open_model(parts);
}

/// Everything but where it came from.
Json spec_of(const OpenedModel & model) {
    Json json = to_json(model.spec);
    json.erase("naming");
    return json;
}

/// Largest error over the largest magnitude of a tensor.
double distance(const std::vector<float> & a, const std::vector<float> & b) {
    double error = 0, largest = 1e-30;
    if (a.size() != b.size()) return 1e30;
    for (size_t i = 0; i < a.size(); ++i) {
        error = std::max(error, std::fabs(double{a[i]} - b[i]));
        largest = std::max(largest, std::fabs(double{a[i]}));
    }
    return error / largest;
}

std::vector<float> dequantised(const latent::TensorSource & source, const TensorInfo & tensor) {
    std::vector<uint8_t> bytes(static_cast<size_t>(tensor.bytes));
    source.read(tensor, bytes.data());
    std::vector<float> values(static_cast<size_t>(tensor.elements()));
    latent::formats::dequantise(tensor.dtype, bytes.data(), values.data(), tensor.elements());
    return values;
}

}  // namespace

TEST(convert_f32_is_exact_and_complete) {
    const golden::TempFolder folder;
    const OpenedModel model = open_sd1(folder);
    ConvertOptions options;
    options.type = DType::f32;
    options.tokenizer = "{\"vocab\": \"caf\xC3\xA9\"}";
    options.metadata = {{"general.license", "MIT"}};
    const std::string path = folder / "sd1 \xC3\xA9.gguf";
    int64_t last = 0, total = 0;
    JobContext job;
    job.progress = [&](const latent::Progress & p) {
        CHECK(p.phase == Phase::convert && p.step >= last && p.step <= p.steps);
        last = p.step, total = p.steps;
    };
    const ConvertReport report = convert(model, path, options, job);
    CHECK(last == total && total > 0);
    CHECK(report.tensors == 986 && report.tensors_by_type.at("f32") == 986);
    CHECK(report.bytes == std::filesystem::file_size(latent::to_path(path)));

    const OpenedModel back = reopen(path);
    CHECK(spec_of(back) == spec_of(model));
    CHECK(back.spec.naming == "gguf");
    CHECK(back.tokenizer == options.tokenizer);
    const Json metadata = Json::parse(back.tensors->metadata_json());
    CHECK(metadata.at("general.license") == "MIT" && metadata.at("general.architecture") == "latent-diffusion");
    CHECK(back.tensors->tensors().size() == model.tensors->tensors().size());
    for (const TensorInfo & tensor : model.tensors->tensors()) {
        const TensorInfo * written = back.tensors->find(tensor.name);
        CHECK(written && written->shape == tensor.shape && written->dtype == DType::f32);
        if (written && back.tensors->read_f32(*written) != model.tensors->read_f32(tensor))
            check::fail(__FILE__, __LINE__, tensor.name);
    }
}

TEST(convert_to_16_bits_and_blocks_within_their_error) {
    const golden::TempFolder folder;
    const OpenedModel model = open_sd1(folder);
    struct Case {
        DType type;
        double bound;  // of the largest weight of a tensor: half a step of the type, scales rounded to halves
    };
    for (const Case & c : {Case{DType::f16, 5e-4}, Case{DType::bf16, 4e-3}, Case{DType::q8_0, 5e-3}, Case{DType::q5_0, 0.07},
                           Case{DType::q4_0, 0.14}, Case{DType::q6_k, 0.05}, Case{DType::q5_k, 0.09}, Case{DType::q4_k, 0.14}}) {
        ConvertOptions options;
        options.type = c.type;
        const std::string path = folder / "out.gguf";
        const ConvertReport report = convert(model, path, options, {});
        const OpenedModel back = reopen(path);
        CHECK(spec_of(back) == spec_of(model));
        double worst = 0;
        int64_t of_type = 0;
        for (const TensorInfo & tensor : model.tensors->tensors()) {
            const TensorInfo & written = *back.tensors->find(tensor.name);
            if (written.shape != tensor.shape) check::fail(__FILE__, __LINE__, "shape of " + tensor.name);
            if (tensor.shape.size() < 2) CHECK(written.dtype == DType::f32);
            if (written.dtype == c.type) ++of_type;
            const double d = distance(model.tensors->read_f32(tensor), dequantised(*back.tensors, written));
            if (written.dtype == c.type)
                worst = std::max(worst, d);
            else
                CHECK(d < 0.15);
            const bool first_stage = tensor.name.rfind("first_stage_model.", 0) == 0;
            if (first_stage) CHECK(!latent::dtype_is_quantised(written.dtype));
        }
        CHECK(of_type >= 10 && of_type == report.tensors_by_type.at(latent::dtype_name(c.type)));
        if (worst > c.bound || worst == 0) {
            check::fail(__FILE__, __LINE__, std::string(latent::dtype_name(c.type)) + " error " + std::to_string(worst));
        }
        if (latent::dtype_is_quantised(c.type)) {
            const TensorInfo & conv = *back.tensors->find("model.diffusion_model.middle_block.0.in_layers.2.weight");
            CHECK(latent::dtype_is_quantised(conv.dtype) && conv.shape.size() == 4);
            CHECK(back.tensors->find("model.diffusion_model.out.2.weight")->dtype == DType::f16);
        }
    }
}

/// What convert() makes of a matrix of this shape that the part declares, `least_bits` as in core/parameters.h.
DType converted(latent::ModelPart part, std::vector<int64_t> shape, const ConvertOptions & options, int least_bits = 0,
                const std::string & name = "model.diffusion_model.input_blocks.1.1.proj_in.weight") {
    latent::Parameter parameter;
    parameter.name = name;
    parameter.shape = shape;
    parameter.least_bits = least_bits;
    TensorInfo tensor;
    tensor.name = name;
    tensor.shape = std::move(shape);
    return latent::formats::convert_type({&parameter, part}, tensor, options);
}

TEST(convert_overrides_fallbacks_and_second_generation) {
    using latent::ModelPart;
    ConvertOptions options;
    options.type = DType::q4_k;
    CHECK(converted(ModelPart::unet, {320, 320}, options) == DType::q4_0);  // 320 is no multiple of 256
    options.type = DType::q6_k;
    CHECK(converted(ModelPart::unet, {640, 640, 3, 3}, options) == DType::q8_0);  // 5760 neither; 32 divides it
    CHECK(converted(ModelPart::unet, {1280, 1280}, options) == DType::q6_k);
    CHECK(converted(ModelPart::unet, {320, 4, 3, 3}, options) == DType::f16);
    CHECK(converted(ModelPart::unet, {1280, 1280}, options, 16) == DType::f16);
    CHECK(converted(ModelPart::unet, {1280, 1280}, options, 32) == DType::f32);
    options.overrides = {{"*.proj_?n.weight", DType::f32}, {"*", DType::q8_0}};
    CHECK(converted(ModelPart::unet, {1280, 1280}, options) == DType::f32);
    const std::string conv = "first_stage_model.encoder.mid.block_1.conv1.weight";
    CHECK(converted(ModelPart::vae, {1280, 1280}, options, 0, conv) == DType::q8_0);
    CHECK(converted(ModelPart::vae, {1280}, options, 0, conv) == DType::f32);
    options.overrides.clear();
    options.type = DType::q4_0;  // part by part
    CHECK(converted(ModelPart::vae, {1280, 1280}, options) == DType::f16);
    CHECK(converted(ModelPart::text_encoder, {1280, 1280}, options) == DType::q8_0);
    CHECK(converted(ModelPart::image_encoder, {1280, 1280}, options) == DType::q8_0);
    options.part_defaults = false;
    CHECK(converted(ModelPart::text_encoder, {1280, 1280}, options) == DType::q4_0);
    CHECK_THROWS(latent::formats::weight_type_from_name("q3_k"), ErrorCode::invalid_argument);
    CHECK(latent::formats::weight_type_from_name("q5_k") == DType::q5_k);

    const golden::TempFolder folder;
    const OpenedModel model = open_sd1(folder);
    options = {};
    options.type = DType::q8_0;
    convert(model, folder / "q8.gguf", options, {});
    const OpenedModel q8 = reopen(folder / "q8.gguf");
    convert(q8, folder / "again.gguf", options, {});  // block types are copied as they are
    const OpenedModel again = reopen(folder / "again.gguf");
    CHECK(spec_of(again) == spec_of(model));
    for (const TensorInfo & t : q8.tensors->tensors()) {
        const TensorInfo & copy = *again.tensors->find(t.name);
        CHECK(copy.dtype == t.dtype && copy.shape == t.shape);
        if (dequantised(*q8.tensors, t) != dequantised(*again.tensors, copy)) check::fail(__FILE__, __LINE__, t.name);
    }
    options.type = DType::f16;  // and come back as halves
    convert(q8, folder / "half.gguf", options, {});
    const OpenedModel half = reopen(folder / "half.gguf");
    const std::string name = "model.diffusion_model.middle_block.1.proj_in.weight";
    CHECK(half.tensors->find(name)->dtype == DType::f16);
    CHECK(distance(dequantised(*q8.tensors, *q8.tensors->find(name)), half.tensors->read_f32(*half.tensors->find(name))) < 1e-3);
}

TEST(convert_does_not_depend_on_threads) {
    const golden::TempFolder folder;
    const OpenedModel model = open_sd1(folder);
    ConvertOptions options;
    for (const DType type : {DType::f16, DType::q8_0, DType::q4_k}) {
        options.type = type;
        std::string first;
        for (const int threads : {1, 2, 5}) {
            options.threads = threads;
            convert(model, folder / "out.gguf", options, {});
            const std::string bytes = latent::read_text_file(folder / "out.gguf", 1 << 28);
            if (first.empty()) first = bytes;
            CHECK(bytes == first);
        }
    }
}

TEST(convert_values_beyond_halves_and_not_finite) {
    const golden::Case c = golden::load("stage-kl-f4");
    const golden::TempFolder folder;
    const std::string path = golden::write_layout(c, "compvis", folder.path());
    // Two values that no half holds, and one that every half rounds to nothing.
    golden::poke(path, "encoder.down.0.block.0.conv1.weight", 0, 1e6f);
    golden::poke(path, "encoder.down.0.block.0.conv2.weight", 0, std::nanf(""));
    golden::poke(path, "encoder.down.0.block.1.conv1.weight", 0, 1e-40f);
    const OpenedModel model = reopen(path);
    ConvertOptions options;
    options.type = DType::q8_0;
    convert(model, folder / "out.gguf", options, {});
    const OpenedModel back = reopen(folder / "out.gguf");
    const auto type = [&](const char * name) { return back.tensors->find(std::string("first_stage_model.") + name)->dtype; };
    CHECK(type("encoder.down.0.block.0.conv1.weight") == DType::f32);
    CHECK(type("encoder.down.0.block.0.conv2.weight") == DType::f32);
    CHECK(type("encoder.down.0.block.1.conv1.weight") == DType::q8_0);
    const TensorInfo & kept = *back.tensors->find("first_stage_model.encoder.down.0.block.0.conv1.weight");
    CHECK(back.tensors->read_f32(kept)[0] == 1e6f);
}

TEST(convert_abort_and_errors_leave_nothing) {
    const golden::TempFolder folder, out;
    const OpenedModel model = open_sd1(folder);
    ConvertOptions options;
    options.type = DType::q4_k;
    JobContext job;
    int reports = 0;
    job.progress = [&](const latent::Progress &) {
        if (++reports == 20) job.cancel->cancel();
    };
    CHECK_THROWS(convert(model, out / "a.gguf", options, job), ErrorCode::aborted);
    CHECK(reports == 20);
    CHECK(latent::list_folder(out.path()).empty());
    CHECK_THROWS(convert(model, out / "a.gguf", options, job), ErrorCode::aborted);  // before it began
    CHECK_THROWS(convert(model, out / "missing/a.gguf", options, {}), ErrorCode::io);
    CHECK_THROWS(convert(model, out.path(), options, {}), ErrorCode::io);
    ConvertOptions reserved = options;
    reserved.metadata["general.alignment"] = "64";  // a text there would make the file unreadable
    CHECK_THROWS(convert(model, out / "a.gguf", reserved, {}), ErrorCode::invalid_argument);
    CHECK(latent::list_folder(out.path()).empty());
    // What was there stays until the new file is complete, and is then replaced.
    { std::ofstream(latent::to_path(out / "a.gguf")) << "old"; }
    job.cancel = std::make_shared<latent::CancelToken>();
    reports = 0;
    CHECK_THROWS(convert(model, out / "a.gguf", options, job), ErrorCode::aborted);
    CHECK(latent::read_text_file(out / "a.gguf") == "old");
    convert(model, out / "a.gguf", options, {});
    CHECK(latent::list_folder(out.path()) == std::vector<std::string>{"a.gguf"});
    CHECK(spec_of(reopen(out / "a.gguf")) == spec_of(model));
}
