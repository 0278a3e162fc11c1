#include "cuda/product_kernel.h"

namespace latent::cuda {

template <typename T>
void product_plain(const ProductArgs & p, ProductTile tile, cudaStream_t stream) {
    switch (tile) {
        case ProductTile::t128x128: return launch_product<T, WeightKind::plain, Tile128x128>(p, stream);
        case ProductTile::t128x64: return launch_product<T, WeightKind::plain, Tile128x64>(p, stream);
        case ProductTile::t64x64: return launch_product<T, WeightKind::plain, Tile64x64>(p, stream);
    }
}

template void product_plain<bf16>(const ProductArgs &, ProductTile, cudaStream_t);
template void product_plain<f16>(const ProductArgs &, ProductTile, cudaStream_t);

}  // namespace latent::cuda
