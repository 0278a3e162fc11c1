#include <algorithm>

#include "checks.h"
#include "formats/convert/convert.h"
#include "models/clip_text.h"
#include "models/clip_vision.h"

// CLIP's two towers from their files, in every naming, against openai/CLIP and transformers.

using namespace latent;
using formats::ModelParts;
using formats::OpenedModel;
using graph::Precision;
using graph::WeightPolicy;

namespace {

std::vector<float> text_embeds(const golden::Case & c, const OpenedModel & model, const WeightPolicy & policy) {
    const ConditionerConfig & tower = conditioner(model.spec, "clip_text");
    models::ClipText text(tower.clip, cpu(), tower.prefix);
    text.weights().plan(model.tensors, policy);
    text.weights().load({});
    const std::vector<float> values = golden::input(c, "ids").data;
    const std::vector<int32_t> ids(values.begin(), values.end());
    std::vector<float> embeds(static_cast<size_t>(2 * tower.clip.projection_dim));
    text.embed(ids, 2, 77, embeds, JobContext{});
    return embeds;
}

std::vector<float> image_embeds(const golden::Case & c, const OpenedModel & model, const WeightPolicy & policy) {
    const ConditionerConfig & tower = conditioner(model.spec, "clip_vision");
    models::ClipVision vision(clip_vision_config(tower.params), cpu(), tower.prefix);
    vision.weights().plan(model.tensors, policy);
    CHECK(vision.measure(2).flops > 1e5);
    vision.weights().load({});
    std::vector<float> embeds(static_cast<size_t>(2 * vision.config().projection_dim));
    vision.forward(golden::input(c, "pixels").data, 2, embeds, JobContext{});
    return embeds;
}

void check_towers(const golden::Case & c, const OpenedModel & model, const std::string & how) {
    const golden::Tensor text = expected_of(c, "text_embeds"), image = expected_of(c, "image_embeds");
    const std::vector<float> a = text_embeds(c, model, exact), b = image_embeds(c, model, exact);
    within(how + " text_embeds", golden::max_difference(a, text), text.atol);
    within(how + " image_embeds", golden::max_difference(b, image), image.atol);
    const golden::Tensor similarity = expected_of(c, "similarity");
    std::vector<float> cosines;
    for (size_t i = 0; i < 2; ++i) {
        for (size_t j = 0; j < 2; ++j) {
            double aa = 0, bb = 0, ab = 0;
            for (size_t k = 0; k < 40; ++k) {
                const double x = a[i * 40 + k], y = b[j * 40 + k];
                aa += x * x, bb += y * y, ab += x * y;
            }
            cosines.push_back(static_cast<float>(ab / std::sqrt(aa * bb)));
        }
    }
    within(how + " similarity", golden::max_difference(cosines, similarity), similarity.atol);
    within(how + " text_embeds, fast f16", golden::max_difference(text_embeds(c, model, {Precision::fast, DType::f16}), text),
           fast_bound() * text.max_abs);
    within(how + " image_embeds, fast f16", golden::max_difference(image_embeds(c, model, {Precision::fast, DType::f16}), image),
           fast_bound() * image.max_abs);
}

// The text tower's heads are not OpenAI's width / 64, so that they must be told; those of the image tower are.
const Json tiny_heads = {{{"clip", {{"numAttentionHeads", 4}, {"hiddenAct", "quick_gelu"}}}},
                         {{"params", {{"hiddenAct", "quick_gelu"}}}}};

}  // namespace

TEST(clip_by_openai_and_hugging_face_names) {
    const golden::Case c = golden::load("clip-openai");
    const golden::TempFolder openai, hf;
    ModelParts parts;
    parts.model = golden::write_layout(c, "openai", openai.path());
    CHECK_THROWS(open_model(parts), ErrorCode::unsupported_model);
    parts.spec = {{"conditioners", tiny_heads}};
    OpenedModel model = open_model(parts);
    CHECK(model.spec.name == "CLIP" && model.spec.conditioners.size() == 2);
    CHECK(model.tensors->tensors().size() == 52 + 1 + 56);
    check_towers(c, model, "openai");

    golden::write_layout(c, "hf", hf.path());
    ModelParts folder;
    folder.model = hf.path();
    model = open_model(folder);
    check_towers(c, model, "hf");

    // Each tower as a part of its own, from either file, and from a GGUF file of ours.
    folder = {};
    folder.text_encoder = hf.path();
    CHECK(open_model(folder).spec.conditioners.size() == 1);
    folder.image_encoder = hf.path();
    model = open_model(folder);
    CHECK(model.spec.conditioners.size() == 2 && model.spec.conditioners[1].kind == "clip_vision");
    check_towers(c, model, "parts");
    formats::ConvertOptions options;
    options.type = DType::f32;
    formats::convert(model, hf / "clip.gguf", options, {});
    ModelParts gguf;
    gguf.model = hf / "clip.gguf";
    check_towers(c, open_model(gguf), "gguf");
}

TEST(clip_vision_states) {
    const golden::Case c = golden::load("clip-vision");
    const golden::TempFolder folder;
    golden::write_layout(c, "diffusers", folder.path());
    ModelParts parts;
    parts.image_encoder = folder / "image_encoder";
    const OpenedModel model = open_model(parts);
    CHECK(model.spec.name == "CLIP image encoder" && model.tensors->tensors().size() == 56);
    const golden::Tensor embeds = expected_of(c, "image_embeds");
    within("clip-vision image_embeds", golden::max_difference(image_embeds(c, model, exact), embeds), embeds.atol);
    within("clip-vision image_embeds, fast q8_0",
           golden::max_difference(image_embeds(c, model, {Precision::fast, DType::q8_0}), embeds), 4e-2 * embeds.max_abs);

    const ConditionerConfig & tower = conditioner(model.spec, "clip_vision");
    models::ClipVision vision(clip_vision_config(tower.params), cpu(), tower.prefix);
    vision.weights().plan(model.tensors, exact);
    vision.weights().load({});
    const std::vector<float> pixels = golden::input(c, "pixels").data;
    for (const auto & [name, layers] : {std::pair<const char *, int>{"hidden_penultimate", 2}, {"last_hidden", 3}}) {
        const golden::Tensor states = expected_of(c, name);
        std::vector<float> out(states.data.size());
        vision.hidden(pixels, 2, layers, out, JobContext{});
        within(std::string("clip-vision ") + name, golden::max_difference(out, states), states.atol);
    }
    std::vector<float> out(2 * 17 * 64);
    CHECK_THROWS(vision.hidden(pixels, 2, 4, out, JobContext{}), ErrorCode::invalid_argument);
    CHECK_THROWS(vision.hidden(pixels, 0, 1, out, JobContext{}), ErrorCode::invalid_argument);
    CHECK_THROWS(vision.forward(pixels, 1, out, JobContext{}), ErrorCode::invalid_argument);
    ClipVisionConfig broken = vision.config();
    broken.patch_size = 5;
    CHECK_THROWS(models::ClipVision(broken, cpu()), ErrorCode::model_format);

    // As the model itself it is refused, as before.
    parts = {};
    parts.model = folder / "image_encoder";
    CHECK_THROWS(open_model(parts), ErrorCode::unsupported_model);
}

TEST(text_embeddings_need_an_end_and_a_projection) {
    const golden::Case c = golden::load("clip-openai");
    const golden::TempFolder folder;
    golden::write_layout(c, "hf", folder.path());
    ModelParts parts;
    parts.text_encoder = folder.path();
    const OpenedModel model = open_model(parts);
    const ConditionerConfig & tower = conditioner(model.spec, "clip_text");
    models::ClipText text(tower.clip, cpu(), tower.prefix);
    text.weights().plan(model.tensors, exact);
    text.weights().load({});
    std::vector<float> embeds(40);
    std::vector<int32_t> ids(77, 0);
    CHECK_THROWS(text.embed(ids, 1, 77, embeds, JobContext{}), ErrorCode::invalid_argument);
    ids[1] = tower.clip.eos_token_id;
    text.embed(ids, 1, 77, embeds, JobContext{});
    const std::vector<float> first = embeds;
    ids[2] = tower.clip.eos_token_id;  // the first end counts
    text.embed(ids, 1, 77, embeds, JobContext{});
    CHECK(embeds == first);
    ClipTextConfig plain = tower.clip;
    plain.projection_dim = 0;
    models::ClipText without(plain, cpu(), tower.prefix);
    without.weights().plan(model.tensors, exact);
    without.weights().load({});
    CHECK_THROWS(without.embed(ids, 1, 77, embeds, JobContext{}), ErrorCode::unsupported_model);
}

// RDM's conditioner is outside of its checkpoint: a text encoder, and an image encoder, of the width of its context.
TEST(rdm_with_its_clip) {
    const golden::Case c = golden::load("ldm-rdm"), clip = golden::load("clip-openai");
    const golden::TempFolder rdm, narrow, fitting;
    ModelParts parts;
    parts.model = golden::write_layout(c, "compvis", rdm.path());
    parts.config = c.config();
    CHECK(open_model(parts).spec.conditioners.size() == 1);
    golden::write_layout(clip, "hf", narrow.path());
    parts.text_encoder = narrow.path();
    CHECK_THROWS(open_model(parts), ErrorCode::model_format);  // 40 wide, the context is 64
    parts.text_encoder.clear();
    parts.image_encoder = narrow.path();
    CHECK_THROWS(open_model(parts), ErrorCode::model_format);

    golden::write_layout(clip, "hf", fitting.path());
    std::vector<golden::FileTensor> tensors;
    for (const TensorInfo & info : golden::keys(clip, "hf")) {
        std::vector<int64_t> shape = info.shape;
        if (info.name == "text_projection.weight" || info.name == "visual_projection.weight") shape[0] = 64;
        tensors.push_back(golden::formula_tensor(info.name, shape, 0, 0.1));
    }
    golden::write_safetensors(fitting / "model.safetensors", tensors);
    parts.text_encoder = parts.image_encoder = fitting.path();
    const OpenedModel model = open_model(parts);
    CHECK(model.spec.kind == "rdm" && model.spec.conditioners.size() == 3 && model.spec.use_ema);
    CHECK(model.spec.conditioners[0].kind == "clip_text" && model.spec.conditioners[1].kind == "external" &&
          model.spec.conditioners[2].kind == "clip_vision");
    // Without its configuration as well.
    parts.config = Json();
    parts.spec = {{"unet", {{"numHeads", 4}}}, {"scaleFactor", 0.5}};
    CHECK(open_model(parts).spec.kind == "rdm" && open_model(parts).spec.conditioners.size() == 3);

    models::ClipText text(model.spec.conditioners[0].clip, cpu(), model.spec.conditioners[0].prefix);
    text.weights().plan(model.tensors, exact);
    text.weights().load({});
    std::vector<int32_t> ids(77, 0);
    ids[3] = model.spec.conditioners[0].clip.eos_token_id;
    std::vector<float> embeds(64);
    text.embed(ids, 1, 77, embeds, JobContext{});
    CHECK(*std::max_element(embeds.begin(), embeds.end()) > 0);
}
