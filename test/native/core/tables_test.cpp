#include "check.h"
#include "core/json.h"
#include "core/parts.h"
#include "core/path.h"
#include "core/text.h"
#include "core/weight_type.h"

// Parts and weight types are listed in TypeScript too (lib/names.ts): test/fixtures/tables.json is what both are held against.

using latent::DType;
using latent::Json;

TEST(tables_are_those_of_typescript) {
    Json parts = Json::array(), types = Json::array();
    for (const latent::PartTraits & part : latent::part_table()) {
        parts.push_back({{"name", part.name}, {"title", part.title}, {"hasOwnSource", part.has_own_source}});
        if (part.in_block_models != DType::f32) parts.back()["inBlockModels"] = latent::dtype_name(part.in_block_models);
    }
    for (const DType type : latent::weight_types()) types.push_back(latent::dtype_name(type));
    const std::string file = std::string(LATENT_FIXTURES) + "/tables.json";
    const Json expected = latent::parse_json(latent::read_text_file(file, 1 << 16), file);
    CHECK(parts == expected.at("parts"));
    CHECK(types == expected.at("weightTypes"));
}

TEST(parts_of_a_model_in_block_types) {
    using latent::ModelPart;
    CHECK(part_default(ModelPart::unet, DType::q4_0) == DType::q4_0);
    CHECK(part_default(ModelPart::text_encoder, DType::q4_0) == DType::q8_0);
    CHECK(part_default(ModelPart::vae, DType::q4_0) == DType::f16);
    CHECK(part_default(ModelPart::vae, DType::bf16) == DType::bf16);
    CHECK(latent::part_title("vae") == "The first stage" && latent::part_title("decoder") == "The decoder");
}

TEST(texts_of_messages) {
    CHECK(latent::mebibytes(48548545) == "46.2 MiB" && latent::mebibytes(uint64_t{812} << 20) == "812 MiB");
    CHECK(latent::number_text(999) == "999" && latent::number_text(0.75) == "0.75" && latent::number_text(1e6) == "1e+06");
    CHECK(latent::shape_text({320, 4, 3}) == "[320, 4, 3]" && latent::shape_text({}) == "[]");
    CHECK(latent::enumerated({"a", "b", "c"}) == "a, b and c" && latent::enumerated({"a"}) == "a");
    CHECK(latent::first_of({"a", "b", "c"}, 2) == "a, b and 1 more");
}
