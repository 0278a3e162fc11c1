#include "core/json.h"
#include "published_parts.h"

// Every public model of docs/models.md at its full size, without weights: the networks have the published number of tensors and
// parameters, and from such a header alone it is recognised with all its settings.

using latent::ErrorCode;
using latent::Json;
using latent::ModelSpec;
using latent::Prediction;
using latent::UNetAttention;
using latent::UNetConfig;
using latent::formats::Detection;

namespace {

constexpr auto st = UNetAttention::spatial_transformer;
constexpr auto ab = UNetAttention::attention_block;

List unet_list(const UNetConfig & c) {
    return declared(latent::networks::declare_unet, c, latent::unet_prefix);
}

/// What the reference does with a model, as far as it is not in the weights (sections 3, 6.1, 7, 9 to 11 and 17).
struct Settings {
    const char * name;
    const char * kind;
    const char * conditioning_key;
    int heads_of_last_level;
    double scale_factor, beta_start, beta_end;
    bool ema;  // where the file has averaged weights
    Prediction prediction;
    int image_size, steps;
    double guidance, eta;
};

struct Model {
    const char * file;
    UNetConfig unet;
    double millions;
    size_t tensors;
    std::string stage;
    List conditioner;
    std::vector<const char *> conditioners;  // kinds that are found
    Settings settings;
};

UNetConfig unet(int mc, int in, int out, std::vector<int> mult, std::vector<int> at, UNetAttention kind, int context, int depth) {
    UNetConfig c;
    c.model_channels = mc, c.in_channels = in, c.out_channels = out;
    c.channel_mult = std::move(mult), c.attention_resolutions = std::move(at);
    c.attention = kind, c.context_dim = context, c.transformer_depth = {depth};
    return c;
}

UNetConfig stable_diffusion(int in, int context) {
    UNetConfig c = unet(320, in, 4, {1, 2, 4, 4}, {4, 2, 1}, st, context, 1);
    c.use_linear_in_transformer = context == 1024;
    return c;
}

UNetConfig updown(UNetConfig c, bool scale_shift) {
    c.resblock_updown = true;
    c.scale_shift_norm = scale_shift;
    return c;
}

UNetConfig x4_upscaler() {
    UNetConfig c = unet(256, 7, 4, {1, 2, 2, 4}, {8, 4, 2}, st, 1024, 1);
    c.use_linear_in_transformer = true;
    c.disable_self_attentions = {false, true, true, false};  // as far as a level has attention
    c.class_embedding = "embedding", c.class_count = 1000;
    return c;
}

UNetConfig sdxl(bool refiner) {
    UNetConfig c = refiner ? unet(384, 4, 4, {1, 2, 4, 4}, {4, 2}, st, 1280, 4) : unet(320, 4, 4, {1, 2, 4}, {4, 2}, st, 2048, 1);
    if (!refiner) c.transformer_depth = {0, 2, 10};
    c.use_linear_in_transformer = true;
    c.class_embedding = "vector", c.vector_dim = refiner ? 2560 : 2816;
    return c;
}

std::vector<Model> models() {
    constexpr auto eps = Prediction::eps;
    const std::string hf = "cond_stage_model.transformer.text_model.", cond = "cond_stage_model.model.";
    List two = clip_l("conditioner.embedders.0.transformer.text_model.");
    const List g = open_clip("conditioner.embedders.1.model.", 1280, 32);
    two.insert(two.end(), g.begin(), g.end());
    const List h = open_clip(cond, 1024, 24);
    return {
        {"celeba256, ffhq256, lsun_beds256",
         unet(224, 3, 3, {1, 2, 3, 4}, {8, 4, 2}, ab, 0, 1),
         274.056,
         368,
         "vq-f4",
         {},
         {},
         {"LDM CelebA-HQ / FFHQ / LSUN bedrooms", "unconditional", "none", 28, 1.0, .0015, .0195, true, eps, 256, 50, 1, 1}},
        {"lsun_churches256",
         updown(unet(192, 4, 4, {1, 2, 2, 4, 4}, {8, 4, 2, 1}, ab, 0, 1), true),
         294.967,
         520,
         "kl-f8",
         {},
         {},
         {"LDM LSUN churches", "unconditional", "none", 8, 0.25, .0015, .0155, true, eps, 256, 50, 1, 1}},
        {"cin256",
         unet(256, 4, 4, {1, 2, 4}, {4, 2, 1}, st, 512, 1),
         394.984,
         626,
         "vq-f8",
         rows("embedding.weight", {1000, 512}),
         {"class"},
         {"LDM ImageNet (cin256)", "class", "crossattn", 1, 1.0, .0015, .0195, true, eps, 256, 200, 1, 1}},
        {"cin256-v2",
         unet(192, 3, 3, {1, 2, 3, 5}, {8, 4, 2}, st, 512, 1),
         400.921,
         688,
         "vq-f4",
         rows("embedding.weight", {1001, 512}),
         {"class"},
         {"LDM ImageNet (cin256-v2)", "class", "crossattn", 1, 1.0, .0015, .0195, false, eps, 256, 20, 3, 0}},
        {"text2img256",
         unet(192, 3, 3, {1, 2, 3, 5}, {8, 4, 2}, st, 640, 1),
         403.624,
         688,
         "vq-f4",
         bert_list(bert(640, 32, 30522, 77)),
         {"bert_text"},
         {"LDM text-to-image (Conceptual Captions)", "text", "crossattn", 1, 1.0, .0015, .0195, true, eps, 256, 100, 1, 0}},
        {"txt2img-1p4B",
         unet(320, 4, 4, {1, 2, 4, 4}, {4, 2, 1}, st, 1280, 1),
         872.300,
         686,
         "kl-f8",
         bert_list(bert(1280, 32, 30522, 77)),
         {"bert_text"},
         {"LDM text-to-image (txt2img-1p4B)", "text", "crossattn", 8, 0.18215, .00085, .012, false, eps, 256, 200, 5, 0}},
        {"layout2img-openimages256",
         unet(128, 3, 3, {1, 2, 3, 4}, {8, 4, 2}, st, 512, 3),
         246.277,
         1328,
         "vq-f4",
         bert_list(bert(512, 16, 8192, 92)),
         {"layout"},
         {"LDM layout-to-image (OpenImages)", "layout", "crossattn", 1, 1.0, .0015, .0205, true, eps, 256, 200, 1, 0}},
        {"semantic_synthesis256, 512",
         unet(128, 6, 3, {1, 4, 8}, {}, ab, 0, 1),
         215.229,
         216,
         "vq-f4",
         rows("channel_mapper.weight", {3, 182, 1, 1}),
         {"spatial_rescaler"},
         {"LDM semantic synthesis", "semantic", "concat", 8, 1.0, .0015, .0205, true, eps, 256, 200, 1, 1}},
        {"bsr_sr",
         unet(160, 6, 3, {1, 2, 2, 4}, {8}, ab, 0, 1),
         113.623,
         306,
         "vq-f4",
         {},
         {"identity"},
         {"LDM super-resolution (bsr_sr)", "superres", "concat", 20, 1.0, .0015, .0155, true, eps, 256, 100, 1, 1}},
        {"inpainting_big",
         updown(unet(256, 7, 3, {1, 2, 3, 4}, {8, 4, 2}, ab, 0, 1), false),
         387.246,
         416,
         "vq-f4-noattn",
         stage_list("vq-f4-noattn", "cond_stage_model."),
         {"first_stage"},
         {"LDM inpainting (big)", "inpaint", "concat", 8, 1.0, .0015, .0205, true, eps, 256, 50, 1, 0}},
        {"RDM 768",
         unet(448, 16, 16, {1, 2, 3, 4}, {4, 2, 1}, st, 768, 1),
         1335.480,
         688,
         "kl-f16",
         {},
         {"external"},
         {"RDM 768", "rdm", "crossattn", 56, 0.22765929, .0015, .015, true, eps, 768, 50, 5, 0}},
        {"Stable Diffusion 1",
         stable_diffusion(4, 768),
         859.521,
         686,
         "kl-f8",
         clip_l(hf),
         {"clip_text"},
         {"Stable Diffusion 1.x", "text", "crossattn", 8, 0.18215, .00085, .012, false, eps, 512, 50, 7.5, 0}},
        {"Stable Diffusion 1 inpainting",
         stable_diffusion(9, 768),
         859.535,
         686,
         "kl-f8",
         clip_l(hf),
         {"clip_text"},
         {"Stable Diffusion 1.x inpainting", "inpaint", "hybrid", 8, 0.18215, .00085, .012, false, eps, 512, 50, 7.5, 1}},
        {"Stable Diffusion 2",
         stable_diffusion(4, 1024),
         865.911,
         686,
         "kl-f8",
         h,
         {"clip_text"},
         {"Stable Diffusion 2.x", "text", "crossattn", 20, 0.18215, .00085, .012, false, eps, 512, 50, 9, 0}},
        {"Stable Diffusion 2 inpainting",
         stable_diffusion(9, 1024),
         865.925,
         686,
         "kl-f8",
         h,
         {"clip_text"},
         {"Stable Diffusion 2.x inpainting", "inpaint", "hybrid", 20, 0.18215, .00085, .012, false, eps, 512, 50, 7.5, 1}},
        {"Stable Diffusion 2 depth",
         stable_diffusion(5, 1024),
         865.914,
         686,
         "kl-f8",
         h,
         {"clip_text"},
         {"Stable Diffusion 2.x depth", "depth", "hybrid", 20, 0.18215, .00085, .012, false, eps, 512, 50, 9, 0}},
        {"x4 upscaler",
         x4_upscaler(),
         473.398,
         687,
         "x4 kl-f4",
         h,
         {"clip_text", "low_scale"},
         {"Stable Diffusion x4 upscaler", "superres", "hybrid", 8, 0.08333, .0001, .02, false, Prediction::v, 512, 75, 9, 0}},
        {"SDXL base",
         sdxl(false),
         2567.464,
         1680,
         "kl-f8",
         two,
         {"clip_text", "clip_text"},
         {"SDXL base", "text", "crossattn", 20, 0.13025, .00085, .012, false, eps, 1024, 50, 5, 0}},
        {"SDXL refiner",
         sdxl(true),
         2259.527,
         1220,
         "kl-f8",
         open_clip("conditioner.embedders.0.model.", 1280, 32),
         {"clip_text"},
         {"SDXL refiner", "text", "crossattn", 24, 0.13025, .00085, .012, false, eps, 1024, 50, 5, 0}},
    };
}

void check_settings(const Model & m, const Detection & found) {
    const ModelSpec & s = found.spec;
    const Settings & e = m.settings;
    const auto same = [&](const char * field, const Json & actual, const Json & expected) {
        if (actual != expected)
            check::fail(__FILE__, __LINE__,
                        std::string(m.file) + ": " + field + " is " + actual.dump() + ", not " + expected.dump());
    };
    same("name", s.name, e.name);
    same("kind", s.kind, e.kind);
    same("conditioning", s.conditioning_key, e.conditioning_key);
    same("heads", s.unet->heads_at(s.unet->levels() - 1, s.unet->model_channels * s.unet->channel_mult.back()),
         e.heads_of_last_level);
    same("scale factor", s.scale_factor, e.scale_factor);
    same("betas", {s.schedule.beta_start, s.schedule.beta_end}, {e.beta_start, e.beta_end});
    same("EMA", s.use_ema, e.ema);
    same("prediction", prediction_name(s.prediction), prediction_name(e.prediction));
    same("image size", s.image_size, e.image_size);
    same("steps", s.steps, e.steps);
    same("guidance", s.guidance_scale, e.guidance);
    same("eta", s.eta, e.eta);
    Json kinds = Json::array();
    for (const auto & c : s.conditioners) kinds.push_back(c.kind);
    same("conditioners", kinds, m.conditioners.empty() ? Json::array() : Json(m.conditioners));
    same("unet", latent::to_json(s)["unet"]["channelMult"], m.unet.channel_mult);
    same("attention", s.unet->attention_resolutions, m.unet.attention_resolutions);
    same("depth", s.unet->depth_middle(), m.unet.depth_middle());
    same("first stage", s.first_stage->kind + std::to_string(s.first_stage->codebook_size),
         stage_config(m.stage).kind + std::to_string(stage_config(m.stage).codebook_size));
    same("resblock_updown", s.unet->resblock_updown, m.unet.resblock_updown);
    same("scale_shift_norm", s.unet->scale_shift_norm, m.unet.scale_shift_norm);
    if (m.unet.attention == st) same("context", s.unet->context_dim, m.unet.context_dim);
}

}  // namespace

TEST(published_models_have_their_size_and_are_recognised) {
    for (const Model & m : models()) {
        const List network = unet_list(m.unet);
        counted(m.file, network, m.millions, m.tensors);
        List list = network;
        for (const List & part : {stage_list(m.stage), m.conditioner}) list.insert(list.end(), part.begin(), part.end());
        append_ema(list);
        const bool churches = std::string(m.file) == "lsun_churches256";
        if (churches) list.push_back({"scale_factor", {}});
        try {
            check_settings(m, detect_list(list, {{"scale_factor", 0.25f}}));
        } catch (const latent::Error & e) {
            check::fail(__FILE__, __LINE__, std::string(m.file) + ": " + e.what());
        }
        if (churches) {  // the factor is in the file and nowhere else
            list.pop_back();
            CHECK_THROWS(detect_list(list), ErrorCode::unsupported_model);
        }
        // Any tensor that is missed is missed by name; the middle one stands for all.
        list.erase(list.begin() + static_cast<std::ptrdiff_t>(network.size() / 2));
        if (churches) list.push_back({"scale_factor", {}});
        CHECK_THROWS(detect_list(list, {{"scale_factor", 0.25f}}), ErrorCode::model_format);
    }
}

TEST(unclip_is_refused_at_its_full_size) {
    for (const auto & [width, millions] : {std::pair<int, double>{2048, 870.173}, {1536, 869.518}}) {
        UNetConfig c = stable_diffusion(4, 1024);
        c.class_embedding = "vector", c.vector_dim = width;
        const List list = unet_list(c);
        counted("unCLIP", list, millions, 690);
        CHECK_THROWS(detect_list(list), ErrorCode::unsupported_model);
    }
}
