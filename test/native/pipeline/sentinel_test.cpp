#include <cmath>
#include <cstring>

#include "kernels/common/tile.h"
#include "loaded.h"

using namespace loaded;

namespace {

/// Two neighbours in a norm's channel and the convolution after it: a weight that float32 holds and bfloat16 rounds to infinity,
/// times a channel that is always zero.
void make_overflow(const std::string & path, const std::string & norm, const std::string & conv) {
    golden::poke(path, norm + ".weight", 0, 0.0f);
    golden::poke(path, norm + ".bias", 0, 0.0f);
    golden::poke(path, conv + ".weight", 0, 3.4e38f);
}

/// The case `sd1` in fast mode, from a file in `folder` that a test may damage.
LoadRequest fast_request(const golden::TempFolder & folder) {
    const golden::Case c = golden::load("sd1");
    LoadRequest request = exact_request();
    request.precision = Precision::fast;
    request.model = golden::write_layout(c, "compvis", folder.path());
    request.config = c.config();
    return request;
}

GenerateRequest two_steps() {
    GenerateRequest generate;
    generate.inputs.prompt = PromptTokens{};
    generate.inputs.prompt->chunks.push_back({std::vector<int32_t>(77, 1), {}});
    generate.negative = *generate.inputs.prompt;
    generate.width = generate.height = 64;
    generate.sampling.steps = 2;
    generate.output_float = true;
    return generate;
}

}  // namespace

TEST(stages_that_are_not_finite_go_on_in_float32) {
    const bool rounds = kernels::tile_set(kernels::Arithmetic::fast).bf16;
    const golden::TempFolder folder;
    LoadRequest request = fast_request(folder);
    GenerateRequest generate = two_steps();
    const auto run = [&] {
        const auto pipeline = Pipeline::load(request, {});
        GenerateResult result = pipeline->generate(generate, {});
        for (const float value : result.tensor.data) {
            if (!std::isfinite(value)) {
                check::fail(__FILE__, __LINE__, "a pixel is not finite");
                break;
            }
        }
        return result.float32_parts;
    };
    CHECK(run().empty());
    make_overflow(request.model, "first_stage_model.decoder.mid.block_1.norm1", "first_stage_model.decoder.mid.block_1.conv1");
    CHECK(run() == (rounds ? std::vector<std::string>{"vae"} : std::vector<std::string>{}));
    make_overflow(request.model, "model.diffusion_model.middle_block.0.in_layers.0",
                  "model.diffusion_model.middle_block.0.in_layers.2");
    CHECK(run() == (rounds ? std::vector<std::string>{"unet", "vae"} : std::vector<std::string>{}));
    // Where float32 does not help either, no picture is made: the error names the part, whatever the arithmetic.
    const auto refusal = [&](Precision precision) -> std::string {
        request.precision = precision;
        try {
            Pipeline::load(request, {})->generate(generate, {});
        } catch (const Error & error) {
            CHECK(error.code() == ErrorCode::model_format);
            return Json::parse(error.details()).at("part");
        }
        return "none";
    };
    const float nan = std::nanf("");
    for (const auto & [tensor, part] : std::vector<std::pair<const char *, const char *>>{
             {"first_stage_model.decoder.conv_in.bias", "vae"},
             {"model.diffusion_model.input_blocks.0.0.bias", "unet"},
             {"cond_stage_model.transformer.text_model.final_layer_norm.bias", "textEncoder"}}) {
        golden::poke(request.model, tensor, 0, nan);
        CHECK(refusal(Precision::fast) == part);
        CHECK(refusal(Precision::exact) == part);
    }
}

// A call's adapters must not change the arithmetic of later calls without them.
TEST(float32_ends_with_the_adapters_that_needed_it) {
    const bool rounds = kernels::tile_set(kernels::Arithmetic::fast).bf16;
    const golden::TempFolder folder;
    LoadRequest request = fast_request(folder);
    GenerateRequest generate = two_steps();
    const std::string layer = "lora_unet_mid_block_attentions_0_proj_in", convolution = "lora_unet_mid_block_resnets_0_conv1";
    auto alpha = golden::formula_tensor(layer + ".alpha", {1});
    const float huge = 1e38f;
    std::memcpy(alpha.data.data(), &huge, 4);
    golden::write_safetensors(folder / "huge.safetensors",
                              {golden::formula_tensor(layer + ".lora_down.weight", {4, 128, 1, 1}),
                               golden::formula_tensor(layer + ".lora_up.weight", {128, 4, 1, 1}), alpha});
    golden::write_safetensors(folder / "whole.safetensors",
                              {golden::formula_tensor(convolution + ".set_weight", {128, 128, 3, 3})});
    const AdapterUses too_large{{folder / "huge.safetensors", 1, 1}}, replaced{{folder / "whole.safetensors", 1, 1}};
    {
        const auto pipeline = Pipeline::load(request, {});
        const std::vector<float> bare = pipeline->generate(generate, {}).tensor.data;
        generate.adapters = too_large;
        try {
            pipeline->generate(generate, {});
            check::fail(__FILE__, __LINE__, "an adapter of 1e38 is not refused");
        } catch (const Error & error) {
            CHECK(std::string(error.what()).find("adapter") != std::string::npos);
        }
        generate.adapters.reset();
        const GenerateResult after = pipeline->generate(generate, {});
        CHECK(after.float32_parts.empty());
        CHECK(after.tensor.data == bare);
    }
    // A model that needs float32 by itself, and an adapter that replaces the layer for which it does.
    make_overflow(request.model, "model.diffusion_model.middle_block.0.in_layers.0",
                  "model.diffusion_model.middle_block.0.in_layers.2");
    const std::vector<std::string> own = rounds ? std::vector<std::string>{"unet"} : std::vector<std::string>{};
    const auto pipeline = Pipeline::load(request, {});
    CHECK(pipeline->generate(generate, {}).float32_parts == own);
    CHECK(pipeline->generate(generate, {}).float32_parts == own);
    generate.adapters = replaced;
    CHECK(pipeline->generate(generate, {}).float32_parts.empty());
    generate.adapters.reset();
    CHECK(pipeline->generate(generate, {}).float32_parts == own);
}
