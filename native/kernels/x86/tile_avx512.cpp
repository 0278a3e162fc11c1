#include "kernels/common/tile.h"

#if defined(__x86_64__) || defined(_M_X64)
#include "kernels/common/vectors_f32.h"
#include "kernels/x86/exp_avx512.h"

namespace latent::kernels {

const TileSet & tiles_avx512() {
    static const TileSet set = {"avx512",         false,           multiply_f32<Avx512, 4>, pack_tokens_f32,
                                pack_weights_f32, convert_row_f32, softmax_columns<Avx512>, scale_columns<Avx512>};
    return set;
}

const VectorSet & vectors_avx512() {
    static const VectorSet set = {"avx512",          moments_of<Avx512>,   column_moments_of<Avx512>,
                                  affine_of<Avx512>, normalise_of<Avx512>, geglu_of<Avx512>,
                                  finish_of<Avx512>};
    return set;
}

}  // namespace latent::kernels
#endif
