#include "cuda/product_kernel.h"

namespace latent::cuda {

template <typename T>
void product_int4(const ProductArgs & p, ProductTile tile, cudaStream_t stream) {
    switch (tile) {
        case ProductTile::t128x128:  // too many registers, because the next weights need some
        case ProductTile::t128x64: return launch_product<T, WeightKind::int4, Tile128x64>(p, stream);
        case ProductTile::t64x64: return launch_product<T, WeightKind::int4, Tile64x64>(p, stream);
    }
}

template void product_int4<bf16>(const ProductArgs &, ProductTile, cudaStream_t);
template void product_int4<f16>(const ProductArgs &, ProductTile, cudaStream_t);

}  // namespace latent::cuda
