#include "kernels/peak/peak_loops.h"

#if defined(LATENT_AMX)
#include "kernels/x86/amx.h"

namespace latent::kernels {
namespace {

constexpr int kChains = 4;  // registers of sums; more do not hide more latency

void clear_tiles() {
    configure_tiles();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
}

template <bool kInt8>
float run(long iterations) {
    clear_tiles();
    for (long i = 0; i < iterations; ++i) {
        if constexpr (kInt8) {
            _tile_dpbusd(0, 4, 6);
            _tile_dpbusd(1, 4, 7);
            _tile_dpbusd(2, 5, 6);
            _tile_dpbusd(3, 5, 7);
        } else {
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    alignas(64) float sums[16 * 16];  // zeros, whichever the type
    _tile_stored(0, sums, 64);
    release_tiles();
    return sums[0];
}

}  // namespace

PeakLoop peak_bf16_amx() {
    return {"bf16", "amx_bf16", 2.0 * 16 * 16 * 32 * kChains, run<false>};
}

PeakLoop peak_int8_amx() {
    return {"int8", "amx_int8", 2.0 * 16 * 16 * 64 * kChains, run<true>};
}

}  // namespace latent::kernels
#endif
