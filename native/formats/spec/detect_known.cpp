#include "formats/spec/detect.h"

namespace latent::formats {

namespace {

constexpr int any = -1;

/// A public model (docs/models.md): what is visible in its tensors, and what is not.
struct KnownModel {
    int model_channels, in_channels, out_channels, context_dim;  // context 0: no cross-attention
    UNetAttention attention;
    int linear;             // 1: Linear projections, 0: convolutions, any
    std::vector<int> mult;  // empty: any
    const char * name;
    const char * family;
    const char * kind;
    const char * conditioning_key;
    int heads, head_channels;
    double scale_factor, beta_start, beta_end;
    Prediction prediction;
    int image_size;
    bool ema_by_default;     // the reference script samples with the EMA weights if the file has them
    bool heads_are_certain;  // against the public yaml
    // How distilled U-Nets differ from their teachers:
    int res_blocks = 2;
    const char * middle = "full";
    std::vector<int> depths = {};      // transformer depth of the first entry of every level, empty: any
    bool reads_context_twice = false;  // at the first level, in place of self-attention
    bool heads_are_unknown = false;    // published configurations and tools disagree
};

constexpr auto st = UNetAttention::spatial_transformer;
constexpr auto ab = UNetAttention::attention_block;
constexpr auto eps = Prediction::eps;

const std::vector<KnownModel> & known_models() {
    static const std::vector<int> sd = {1, 2, 4, 4};
    static const std::vector<KnownModel> models = {
        {320,     4,       4,     768, st,  0,     sd,   "Stable Diffusion 1.x", "sd1", "text", "crossattn", 8, -1,
         0.18215, 0.00085, 0.012, eps, 512, false, false},
        {320,     9,       4,     768, st,  0,     sd,   "Stable Diffusion 1.x inpainting", "sd1", "inpaint", "hybrid", 8, -1,
         0.18215, 0.00085, 0.012, eps, 512, false, false},
        {320,     8,       4,     768, st,  0,     sd,   "InstructPix2Pix", "sd1", "edit", "hybrid", 8, -1,
         0.18215, 0.00085, 0.012, eps, 512, false, false},
        {320,     4,       4,     1024, st,  1,     sd,   "Stable Diffusion 2.x", "sd2", "text", "crossattn", 8, 64,
         0.18215, 0.00085, 0.012, eps,  512, false, false},
        {320,     9,       4,     1024, st,  1,     sd,   "Stable Diffusion 2.x inpainting", "sd2", "inpaint", "hybrid", 8, 64,
         0.18215, 0.00085, 0.012, eps,  512, false, false},
        {320,     5,       4,     1024, st,  1,     sd,   "Stable Diffusion 2.x depth", "sd2", "depth", "hybrid", 8, 64,
         0.18215, 0.00085, 0.012, eps,  512, false, false},
        {256,           7,          4,        1024, st, 1,       {1, 2, 2, 4}, "Stable Diffusion x4 upscaler",
         "sd2",         "superres", "hybrid", 8,    -1, 0.08333, 0.0001,       0.02,
         Prediction::v, 512,        false,    false},
        {320,         4, 4,  2048,    st,      1,     {1, 2, 4}, "SDXL base", "sdxl", "text",
         "crossattn", 8, 64, 0.13025, 0.00085, 0.012, eps,       1024,        false,  false},
        {320,     9,       4,     2048, st,   1,     {1, 2, 4}, "SDXL inpainting", "sdxl", "inpaint", "hybrid", 8, 64,
         0.13025, 0.00085, 0.012, eps,  1024, false, false},
        {384,         4, 4,  1280,    st,      1,     sd,  "SDXL refiner", "sdxl", "text",
         "crossattn", 8, 64, 0.13025, 0.00085, 0.012, eps, 1024,           false,  false},
        {320,     8,       4,     2048, st,   1,     {1, 2, 4}, "SDXL InstructPix2Pix", "sdxl", "edit", "hybrid", 8, 64,
         0.13025, 0.00085, 0.012, eps,  1024, false, false},
        {320, 4,       4,       2048,  st,  1,    {1, 2, 4}, "SSD-1B", "sdxl", "text",      "crossattn", 8,
         64,  0.13025, 0.00085, 0.012, eps, 1024, false,     false,    2,      "res_block", {0, 2, 4}},
        {320, 4,       4,       2048,  st,  1,    {1, 2, 4}, "Segmind Vega", "sdxl", "text",      "crossattn", 8,
         64,  0.13025, 0.00085, 0.012, eps, 1024, false,     false,          2,      "res_block", {0, 1, 2}},
        {320, 4,       4,       2048,  st,  1,    {1, 2, 4}, "KOALA-700M", "sdxl", "text", "crossattn", 8,
         64,  0.13025, 0.00085, 0.012, eps, 1024, false,     false,        1,      "none", {0, 2, 5}},
        {320, 4,       4,       2048,  st,  1,    {1, 2, 4}, "KOALA-1B", "sdxl", "text", "crossattn", 8,
         64,  0.13025, 0.00085, 0.012, eps, 1024, false,     false,      1,      "full", {0, 2, 6}},
        {320,     4,     4,   1024, st,    1,     {1, 2, 4}, "SDXS-512-0.9", "sd2",     "text", "crossattn", 8, 64, 0.18215,
         0.00085, 0.012, eps, 512,  false, false, 1,         "none",         {1, 1, 1}, true,   true},
        {320,   4,      4,           768,   st, 0,       {1, 2, 4}, "SDXS-512-DreamShaper",
         "sd1", "text", "crossattn", 8,     -1, 0.18215, 0.00085,   0.012,
         eps,   512,    false,       false, 1,  "none",  {0, 1, 1}},
        {320, 4,  4,       768,     st,    0,   sd,  "BK-SDM Base", "sd1", "text", "crossattn",
         8,   -1, 0.18215, 0.00085, 0.012, eps, 512, false,         false, 1,      "full"},
        {320, 4,  4,       768,     st,    0,   sd,  "BK-SDM Small", "sd1", "text", "crossattn",
         8,   -1, 0.18215, 0.00085, 0.012, eps, 512, false,          false, 1,      "none"},
        {320, 4,       4,       768,   st,  0,   {1, 2, 4}, "BK-SDM Tiny", "sd1", "text", "crossattn", 8,
         -1,  0.18215, 0.00085, 0.012, eps, 512, false,     false,         1,     "none", {1, 1, 1}},
        {320,     4,       4,     1280, st,  0,     sd,   "LDM text-to-image (txt2img-1p4B)", "ldm", "text", "crossattn", 8, -1,
         0.18215, 0.00085, 0.012, eps,  256, false, false},
        {224,
         3,
         3,
         0,
         ab,
         any,
         {1, 2, 3, 4},
         "LDM CelebA-HQ / FFHQ / LSUN bedrooms",
         "ldm",
         "unconditional",
         "none",
         8,
         32,
         1.0,
         0.0015,
         0.0195,
         eps,
         256,
         true,
         false},
        {192,    4,      4,   0,   ab,   any,  {1, 2, 2, 4, 4}, "LDM LSUN churches", "ldm", "unconditional", "none", 8, -1, 0,
         0.0015, 0.0155, eps, 256, true, false},
        {256, 4,      4,      512, st,  0,    {1, 2, 4}, "LDM ImageNet (cin256)", "ldm", "class", "crossattn", 1, -1,
         1.0, 0.0015, 0.0195, eps, 256, true, true},
        {192, 3,      3,      512, st,  0,     {1, 2, 3, 5}, "LDM ImageNet (cin256-v2)", "ldm", "class", "crossattn", 1, -1,
         1.0, 0.0015, 0.0195, eps, 256, false, true},
        {192,   3,      3,           640, st, 0,   {1, 2, 3, 5}, "LDM text-to-image (Conceptual Captions)",
         "ldm", "text", "crossattn", 1,   -1, 1.0, 0.0015,       0.0195,
         eps,   256,    true,        true},
        {128,   3,        3,           512, st, 0,   {1, 2, 3, 4}, "LDM layout-to-image (OpenImages)",
         "ldm", "layout", "crossattn", 1,   -1, 1.0, 0.0015,       0.0205,
         eps,   256,      true,        true},
        {128, 6,      3,      0,   ab,  any,  {1, 4, 8}, "LDM semantic synthesis", "ldm", "semantic", "concat", 8, -1,
         1.0, 0.0015, 0.0205, eps, 256, true, false},
        {160, 6,      3,      0,   ab,  any,  {1, 2, 2, 4}, "LDM super-resolution (bsr_sr)", "ldm", "superres", "concat", 8, 32,
         1.0, 0.0015, 0.0155, eps, 256, true, false},
        {256, 7,      3,      0,   ab,  any,  {1, 2, 3, 4}, "LDM inpainting (big)", "ldm", "inpaint", "concat", 8, -1,
         1.0, 0.0015, 0.0205, eps, 256, true, false},
        {448,         16, 16, 768,        st,     0,     {1, 2, 3, 4}, "RDM 768", "ldm", "rdm",
         "crossattn", 8,  32, 0.22765929, 0.0015, 0.015, eps,          768,       true,  false},
    };
    return models;
}

std::vector<int> first_depths(const UNetConfig & c) {
    std::vector<int> depths;
    for (int level = 0; level < c.levels(); ++level) depths.push_back(c.input_depth(level, 0).value_or(0));
    return depths;
}

const KnownModel * known_model(const UNetConfig & c) {
    for (const KnownModel & m : known_models()) {
        const int context = c.attention == st ? c.context_dim : 0;
        if (m.model_channels == c.model_channels && m.in_channels == c.in_channels && m.out_channels == c.out_channels &&
            m.context_dim == context && m.attention == c.attention && m.mult == c.channel_mult &&
            m.res_blocks == c.num_res_blocks && m.middle == c.middle && (m.depths.empty() || m.depths == first_depths(c)) &&
            m.reads_context_twice == (!c.self_attends(0) && m.res_blocks == 1) &&
            (m.linear == any || (m.linear == 1) == c.use_linear_in_transformer)) {
            return &m;
        }
    }
    return nullptr;
}

void apply_known(ModelSpec & spec, const KnownModel & m) {
    spec.name = m.name;
    spec.family = m.family;
    spec.kind = m.kind;
    spec.conditioning_key = m.conditioning_key;
    spec.unet->num_heads = m.heads;
    spec.unet->num_head_channels = m.head_channels;
    if (m.scale_factor > 0) spec.scale_factor = m.scale_factor;
    spec.schedule.beta_start = m.beta_start;
    spec.schedule.beta_end = m.beta_end;
    spec.prediction = m.prediction;
    spec.image_size = m.image_size;
}

}  // namespace

bool apply_known_model(Detection & found, const CanonicalModel & model) {
    const KnownModel * known = known_model(*found.spec.unet);
    if (!known) return false;
    apply_known(found.spec, *known);
    found.heads_are_certain = known->heads_are_certain;
    found.spec.use_ema = known->ema_by_default && model.ema_tensors > 100;
    if (known->heads_are_unknown) found.unknown.insert("/unet/numHeads");
    if (known->scale_factor <= 0 && !model.scale_factor) found.unknown.insert("/scaleFactor");
    return true;
}

}  // namespace latent::formats
