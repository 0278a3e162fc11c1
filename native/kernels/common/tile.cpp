#include "kernels/common/tile.h"

#include "core/cpu.h"
#include "kernels/common/choice.h"
#include "kernels/common/vectors.h"

namespace latent::kernels {

int runnable_tile_sets(const TileSet ** sets, int capacity) {
    int count = 0;
    const auto add = [&](const TileSet & set) {
        if (count < capacity) sets[count++] = &set;
    };
    add(tiles_portable());
#if defined(__x86_64__) || defined(_M_X64)
    const CpuFeatures & cpu = cpu_features();
    if (cpu.avx2 && cpu.fma && cpu.f16c) add(tiles_avx2());
    if (cpu.avx512 && cpu.fma && cpu.f16c) add(tiles_avx512());
    if (cpu.avx512_bf16) add(tiles_avx512bf16());
#if defined(LATENT_AMX)
    if (cpu.avx512_bf16 && cpu.amx_bf16) add(tiles_amx());
#endif
#elif defined(__aarch64__) || defined(_M_ARM64)
    add(tiles_neon());
#if defined(LATENT_NEONBF16)
    if (cpu_features().bf16) add(tiles_neonbf16());
#endif
#endif
    return count;
}

int runnable_vector_sets(const VectorSet ** sets, int capacity) {
    int count = 0;
    const auto add = [&](const VectorSet & set) {
        if (count < capacity) sets[count++] = &set;
    };
    add(vectors_portable());
#if defined(__x86_64__) || defined(_M_X64)
    const CpuFeatures & cpu = cpu_features();
    if (cpu.avx2 && cpu.fma && cpu.f16c) add(vectors_avx2());
    if (cpu.avx512 && cpu.fma && cpu.f16c) add(vectors_avx512());
#elif defined(__aarch64__) || defined(_M_ARM64)
    add(vectors_neon());
#endif
    return count;
}

namespace {

const VectorSet & choose_vectors() {
    const VectorSet * sets[8];
    int count = runnable_vector_sets(sets, 8);
    while (count > 1 && !kernels_allowed(sets[count - 1]->name)) --count;
    return *sets[count - 1];
}

const TileSet & choose(Arithmetic arithmetic) {
    const TileSet * sets[8];
    int count = runnable_tile_sets(sets, 8);
    while (count > 1 && !kernels_allowed(sets[count - 1]->name)) --count;
    const bool wanted = kernels_named(sets[count - 1]->name);
    return best_tile_set(sets, count, arithmetic, cpu_features().slow_avx512_bf16 && !wanted);
}

}  // namespace

const TileSet & best_tile_set(const TileSet * const * sets, int count, Arithmetic arithmetic, bool slow_bf16) {
    const auto unsuitable = [&](const TileSet & set) {
        return set.bf16 && (arithmetic == Arithmetic::f32 || (slow_bf16 && set.rows == kTileRows));
    };
    while (count > 1 && unsuitable(*sets[count - 1])) --count;
    return *sets[count - 1];
}

const TileSet & tile_set(Arithmetic arithmetic) {
    static const TileSet & exact = choose(Arithmetic::f32);
    static const TileSet & fast = choose(Arithmetic::fast);
    return arithmetic == Arithmetic::f32 ? exact : fast;
}

const VectorSet & vector_set() {
    static const VectorSet & set = choose_vectors();
    return set;
}

}  // namespace latent::kernels
