#include "core/weight_type.h"

namespace latent {
namespace {

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

bool starts_with(std::string_view text, std::string_view prefix) {
    return text.substr(0, prefix.size()) == prefix;
}

}  // namespace

DType fitting_type(DType wanted, int64_t inner) {
    if (inner % dtype_block(wanted) == 0) return wanted;
    const DType smaller = wanted == DType::q6_k   ? DType::q8_0
                          : wanted == DType::q5_k ? DType::q5_0
                          : wanted == DType::q4_k ? DType::q4_0
                                                  : DType::f16;
    return inner % dtype_block(smaller) == 0 ? smaller : DType::f16;
}

DType running_type(DType stored, bool whole_rows) {
    switch (stored) {
        case DType::f32:
        case DType::f16:
        case DType::bf16: return stored;
        case DType::f8_e4m3:
        case DType::f8_e5m2: return DType::f16;
        case DType::q4_0:
        case DType::q4_1:
        case DType::q4_k: return whole_rows ? stored : DType::q5_0;
        case DType::q2_k:
        case DType::q3_k: return whole_rows ? stored : DType::q4_0;
        case DType::q5_0:
        case DType::q5_1:
        case DType::q8_0:
        case DType::q5_k:
        case DType::q6_k: return whole_rows ? stored : DType::q8_0;
        default: return dtype_is_quantised(stored) ? DType::q8_0 : DType::f32;
    }
}

bool is_sensitive_weight(std::string_view name) {
    for (const char * part : {".input_blocks.0.0.", "diffusion_model.out.2.", ".time_embed.", ".label_emb.", "coder.conv_in.",
                              "coder.conv_out.", ".quant_conv.", ".post_quant_conv.", "embedding.weight", "token_emb.weight",
                              "text_projection.", "visual_projection."}) {
        if (contains(name, part)) return true;
    }
    return false;
}

bool is_float_table(std::string_view name) {
    for (const char * part :
         {"position_embedding", "pos_emb.", "quantize.embedding", "cond_stage_model.embedding.", ".channel_mapper."}) {
        if (contains(name, part)) return true;
    }
    return false;
}

DType part_default(std::string_view name, DType wanted) {
    if (!dtype_is_quantised(wanted)) return wanted;
    if (starts_with(name, "first_stage_model.")) return DType::f16;
    if (starts_with(name, "cond_stage_model.") || starts_with(name, "image_encoder.")) return DType::q8_0;
    return wanted;
}

DType weight_type(std::string_view name, int64_t inner, DType wanted) {
    if (is_float_table(name)) return DType::f32;
    if (is_sensitive_weight(name)) return dtype_is_quantised(wanted) ? DType::f16 : wanted;
    return fitting_type(wanted, inner);
}

}  // namespace latent
