#include <ggml.h>

#include <cmath>
#include <string>

#include "check.h"
#include "core/tensor_source.h"
#include "graph/fused/cpu_nodes.h"

// The kernels' own conversion of quantised rows against ggml's.

using namespace latent;
using namespace latent::kernels;

namespace {

struct Quantised {
    ggml_type type;
    Block block;
};
constexpr Quantised kTypes[] = {{GGML_TYPE_Q4_0, Block::q4_0}, {GGML_TYPE_Q5_0, Block::q5_0}, {GGML_TYPE_Q8_0, Block::q8_0},
                                {GGML_TYPE_Q4_K, Block::q4_k}, {GGML_TYPE_Q5_K, Block::q5_k}, {GGML_TYPE_Q6_K, Block::q6_k}};

}  // namespace

TEST(blocks_convert_to_the_numbers_of_ggml) {
    constexpr int64_t kWeights = 1024;
    std::vector<float> x(kWeights), full(kWeights);
    for (int64_t i = 0; i < kWeights; ++i)
        x[i] = std::sin(0.37f * static_cast<float>(i * i % 1009)) + 0.001f * static_cast<float>(i);
    const TileSet * sets[8];
    const int count = runnable_tile_sets(sets, 8);
    for (const Quantised & type : kTypes) {
        std::vector<uint8_t> bytes(ggml_row_size(type.type, kWeights));
        ggml_quantize_chunk(type.type, x.data(), bytes.data(), 0, 1, kWeights, nullptr);
        ggml_get_type_traits(type.type)->to_float(bytes.data(), full.data(), kWeights);
        for (int i = 0; i < count; ++i) {
            if (!sets[i]->convert_blocks) continue;
            // One element more, which must stay as it is.
            std::vector<uint16_t> converted(kWeights + 1, 0x1234);
            CHECK(sets[i]->convert_blocks(type.block, bytes.data(), kWeights, converted.data()));
            for (int64_t k = 0; k < kWeights; ++k) {
                if (converted[k] == float_to_bfloat(full[k])) continue;
                check::fail(sets[i]->name, static_cast<int>(k), ggml_type_name(type.type) + std::string(" is off"));
                break;
            }
            CHECK(converted[kWeights] == 0x1234);
            CHECK(!sets[i]->convert_blocks(Block::unknown, bytes.data(), kWeights, converted.data()));
        }
    }
}
