#include "kernels/common/tile_f32.h"
#include "kernels/common/vectors_f32.h"
#include "kernels/portable/simd_portable.h"

namespace latent::kernels {

const TileSet & tiles_portable() {
    static const TileSet set = [] {
        TileSet s = {"portable",           false,           multiply_f32<Lanes4, 4>,     pack_tokens_f32<16>,
                     pack_weights_f32<16>, convert_row_f32, softmax_columns<Lanes4, 16>, scale_columns<Lanes4>};
        s.multiply_narrow = multiply_narrow_f32<Lanes4, 2>;
        return s;
    }();
    return set;
}

const VectorSet & vectors_portable() {
    static const VectorSet set = {"portable",        moments_of<Lanes4>,   column_moments_of<Lanes4>,
                                  affine_of<Lanes4>, normalise_of<Lanes4>, geglu_of<Lanes4>,
                                  finish_of<Lanes4>, transpose_plain,      widen_of<Lanes4>};
    return set;
}

}  // namespace latent::kernels
