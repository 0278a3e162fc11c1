#include "core/parts.h"

namespace latent {

namespace {

constexpr PartTraits parts[] = {
    {ModelPart::unet, "unet", "the U-Net", true, DType::f32},
    {ModelPart::text_encoder, "textEncoder", "the text encoder", true, DType::q8_0},
    {ModelPart::conditioner, "conditioner", "the conditioner", false, DType::f32},
    {ModelPart::image_encoder, "imageEncoder", "the image encoder", true, DType::q8_0},
    {ModelPart::vae, "vae", "the first stage", true, DType::f16},
};

constexpr bool parts_in_order() {
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); ++i) {
        if (static_cast<size_t>(parts[i].part) != i) return false;
    }
    return true;
}
static_assert(parts_in_order(), "the table follows the enumeration");

}  // namespace

Span<const PartTraits> part_table() {
    return {parts, sizeof(parts) / sizeof(parts[0])};
}

const PartTraits & traits_of(ModelPart part) {
    return parts[static_cast<size_t>(part)];
}

std::string part_title(const std::string & name) {
    for (const PartTraits & traits : parts) {
        if (name == traits.name) return "T" + std::string(traits.title).substr(1);
    }
    return "The " + name;
}

DType part_default(ModelPart part, DType wanted) {
    const DType own = traits_of(part).in_block_models;
    return dtype_is_quantised(wanted) && own != DType::f32 ? own : wanted;
}

}  // namespace latent
