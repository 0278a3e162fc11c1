#include <cmath>
#include <filesystem>

#include "check.h"
#include "formats/model_files.h"
#include "header_source.h"
#include "temp_folder.h"

// SDXL, its variants and distilled U-Nets at their full size, by names and shapes alone: parameters as published, and known by
// name.

using latent::ErrorCode;
using latent::UNetAttention;
using latent::UNetConfig;

namespace {

struct Published {
    const char * name;
    const char * family;
    UNetConfig unet;
    double millions;
    int digits;  // of `millions` behind the point
    size_t tensors;
};

UNetConfig unet_of(int context, std::vector<int> mult, int blocks, std::vector<int> depth, const char * middle) {
    UNetConfig c;
    c.channel_mult = std::move(mult);
    c.num_res_blocks = blocks;
    c.attention_resolutions = {4, 2, 1};
    c.context_dim = context;
    c.transformer_depth = std::move(depth);
    c.middle = middle;
    c.num_head_channels = context == 768 ? -1 : 64;
    c.use_linear_in_transformer = context != 768;
    if (context == 2048) c.class_embedding = "vector", c.vector_dim = 2816;
    return c;
}

UNetConfig ssd_1b() {
    UNetConfig c = unet_of(2048, {1, 2, 4}, 2, {0, 2, 4}, "res_block");
    c.transformer_depth_output = {4, 4, 10, 2, 1, 1, 0, 0, 0};
    return c;
}

UNetConfig sdxs_09() {
    UNetConfig c = unet_of(1024, {1, 2, 4}, 1, {1}, "none");
    c.disable_self_attentions = {true, false, false};
    return c;
}

UNetConfig with_channels(UNetConfig c, int in) {
    c.in_channels = in;
    return c;
}

/// Tensors are counted from the files that the references write (test/fixtures/models/unet-*). SSD-1B's there has one layer of
/// depth 6 instead of 10: 80 fewer.
std::vector<Published> published() {
    const UNetConfig base = unet_of(2048, {1, 2, 4}, 2, {0, 2, 10}, "full");
    return {{"SDXL base", "sdxl", base, 2567.5, 1, 1680},
            {"SDXL inpainting", "sdxl", with_channels(base, 9), 2567.5, 1, 1680},
            {"SDXL InstructPix2Pix", "sdxl", with_channels(base, 8), 2567.5, 1, 1680},
            {"SSD-1B", "sdxl", ssd_1b(), 1331, 0, 944},
            {"Segmind Vega", "sdxl", unet_of(2048, {1, 2, 4}, 2, {0, 1, 2}, "res_block"), 745, 0, 564},
            {"KOALA-700M", "sdxl", unet_of(2048, {1, 2, 4}, 1, {0, 2, 5}, "none"), 783, 0, 584},
            {"KOALA-1B", "sdxl", unet_of(2048, {1, 2, 4}, 1, {0, 2, 6}, "full"), 1161, 0, 790},
            {"SDXS-512-DreamShaper", "sd1", unet_of(768, {1, 2, 4}, 1, {0, 1, 1}, "none"), 316, 0, 280}};
}

List names_and_shapes(const UNetConfig & c) {
    return declared(latent::networks::declare_unet, c, latent::unet_prefix);
}

bool is_size(const List & list, double millions, int digits) {
    const double power = std::pow(10.0, digits), found = static_cast<double>(elements(list)) / 1e6;
    return std::round(found * power) == std::round(millions * power);
}

}  // namespace

TEST(distilled_and_sdxl_unets_of_published_sizes) {
    for (const Published & model : published()) {
        const List list = names_and_shapes(model.unet);
        if (!is_size(list, model.millions, model.digits)) {
            check::fail(__FILE__, __LINE__, std::string(model.name) + ": " + std::to_string(elements(list)) + " parameters");
        }
        if (list.size() != model.tensors)
            check::fail(__FILE__, __LINE__, std::string(model.name) + ": " + std::to_string(list.size()) + " tensors");
        const latent::ModelSpec spec = detect_list(list).spec;
        const UNetConfig & found = *spec.unet;
        if (spec.name != model.name || spec.family != model.family) check::fail(__FILE__, __LINE__, "is " + spec.name);
        CHECK(found.middle == model.unet.middle && found.num_res_blocks == model.unet.num_res_blocks);
        CHECK(found.transformer_depth_output == model.unet.transformer_depth_output && found.transformer_depth_input.empty());
        for (int level = 0; level < found.levels(); ++level) {
            CHECK(found.input_depth(level, 0) == model.unet.input_depth(level, 0));
            CHECK(found.output_depth(level, 0) == model.unet.output_depth(level, 0));
        }
        CHECK(spec.image_size == (spec.family == "sdxl" ? 1024 : 512));
        const bool sdxs = std::string(model.name).rfind("SDXS", 0) == 0;  // one step without guidance
        CHECK((spec.sampling_timesteps == (sdxs ? std::vector<double>{999} : std::vector<double>())));
        CHECK(!sdxs || (spec.sampler == "euler" && spec.steps == 1 && spec.guidance_scale == 1));
    }
}

#ifdef __linux__  // elsewhere a file with a hole takes its full size
TEST(first_stage_alone_has_the_scale_factor_of_its_unet) {
    const TempFolder folder;
    latent::AutoencoderConfig stage;
    for (const Published & model : published()) {
        List list = names_and_shapes(model.unet);
        append(list, declared(latent::networks::declare_first_stage, stage, latent::stage_prefix));
        latent::Json header = latent::Json::object();
        uint64_t end = 0;
        for (const auto & [name, shape] : list) {
            const uint64_t begin = end;
            uint64_t bytes = 2;
            for (const int64_t n : shape) bytes *= static_cast<uint64_t>(n);
            end += bytes;
            header[name] = {{"dtype", "F16"}, {"shape", shape}, {"data_offsets", {begin, end}}};
        }
        const std::string text = header.dump();
        std::string bytes(8, '\0');
        for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(static_cast<uint64_t>(text.size()) >> (8 * i));
        latent::formats::ModelParts parts;
        parts.model = folder.write("whole.safetensors", bytes + text);
        std::filesystem::resize_file(parts.model, 8 + text.size() + end);  // the numbers are not read
        parts.first_stage_only = true;
        const latent::ModelSpec spec = latent::formats::open_model(parts).spec;
        CHECK(spec.kind == "autoencoder" && !spec.unet);
        const double expected = std::string(model.family) == "sdxl" ? 0.13025 : 0.18215;
        if (spec.scale_factor != expected) check::fail(__FILE__, __LINE__, std::string(model.name) + ": another scale factor");
    }
}
#endif

TEST(bk_sdm_by_its_middle_and_levels) {
    const Published models[] = {{"BK-SDM Base", "sd1", unet_of(768, {1, 2, 4, 4}, 1, {1}, "full"), 579.4, 1, 442},
                                {"BK-SDM Small", "sd1", unet_of(768, {1, 2, 4, 4}, 1, {1}, "none"), 482.3, 1, 396},
                                {"BK-SDM Tiny", "sd1", unet_of(768, {1, 2, 4}, 1, {1}, "none"), 323.4, 1, 358}};
    for (const auto & [name, family, unet, millions, digits, tensors] : models) {
        const List list = names_and_shapes(unet);
        CHECK(is_size(list, millions, digits) && list.size() == tensors);
        const latent::ModelSpec spec = detect_list(list).spec;
        CHECK(spec.name == name && spec.family == family && spec.unet->heads_at(0, 320) == 8);
    }
}

TEST(sdxs_09_needs_its_heads) {  // published configurations and tools disagree on them
    const List list = names_and_shapes(sdxs_09());
    CHECK(is_size(list, 328, 0) && list.size() == 358);
    CHECK_THROWS(detect_list(list), ErrorCode::unsupported_model);
    const auto source = std::make_shared<HeaderSource>(list);
    const latent::formats::Detection found =
        latent::formats::detect(latent::formats::canonicalise({{source, latent::formats::Part::whole}}));
    CHECK(found.spec.name == "SDXS-512-0.9" && !found.spec.unet->self_attends(0) && found.spec.unet->self_attends(1));
    CHECK_NEAR(found.spec.scale_factor, 0.18215, 0);
}
