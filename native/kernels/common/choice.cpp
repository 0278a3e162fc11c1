#include "kernels/common/choice.h"

#include <algorithm>

#include "core/environment.h"
#include "kernels/common/int8.h"
#include "kernels/common/vectors.h"

namespace latent::kernels {
namespace {

constexpr int kMostSets = 8;

/// From the least to the most capable instruction set.
const std::vector<std::string> & known_order() {
#if defined(__aarch64__) || defined(_M_ARM64)
    static const std::vector<std::string> order = {"portable", "neon", "neon_dotprod", "neon_bf16", "neon_i8mm"};
#else
    static const std::vector<std::string> order = {"portable",    "avx2",        "avx_vnni", "avx512",
                                                   "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8"};
#endif
    return order;
}

/// Calls action(name) for every set that can run here.
template <typename F>
void for_every_name(F action) {
    const TileSet * tiles[kMostSets];
    const VectorSet * vectors[kMostSets];
    const Int8Set * int8[kMostSets];
    for (int i = 0, n = runnable_tile_sets(tiles, kMostSets); i < n; ++i) action(tiles[i]->name);
    for (int i = 0, n = runnable_vector_sets(vectors, kMostSets); i < n; ++i) action(vectors[i]->name);
    for (int i = 0, n = runnable_int8_sets(int8, kMostSets); i < n; ++i) action(int8[i]->name);
}

}  // namespace

std::vector<std::string> kernel_names() {
    std::vector<std::string> names;
    for (const std::string & name : known_order()) {
        bool runs = false;
        for_every_name([&](const char * runnable) { runs = runs || name == runnable; });
        if (runs) names.push_back(name);
    }
    return names;
}

namespace {

const std::string & kernel_limit() {
    static const std::string limit = environment_choice("LATENT_KERNELS", kernel_names());
    return limit;
}

}  // namespace

bool kernels_named(const char * name) {
    return kernel_limit() == name;
}

bool kernels_allowed(const char * name) {
    const std::string & limit = kernel_limit();
    if (limit.empty()) return true;
    const std::vector<std::string> & order = known_order();
    const auto rank = [&](const std::string & wanted) { return std::find(order.begin(), order.end(), wanted); };
    return rank(name) <= rank(limit);
}

KernelChoice kernel_choice() {
    KernelChoice choice;
    const TileSet * tiles[kMostSets];
    for (int i = 0, n = runnable_tile_sets(tiles, kMostSets); i < n; ++i)
        choice.runnable.push_back({tiles[i]->name, tiles[i]->bf16 ? "bf16" : "f32"});
    const Int8Set * int8[kMostSets];
    for (int i = 0, n = runnable_int8_sets(int8, kMostSets); i < n; ++i) choice.runnable_int8.emplace_back(int8[i]->name);
    choice.float32 = tile_set(Arithmetic::f32).name, choice.fast = tile_set(Arithmetic::fast).name;
    choice.int8 = int8_set().name, choice.rows = vector_set().name;
    return choice;
}

}  // namespace latent::kernels
