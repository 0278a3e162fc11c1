#pragma once

#include "cuda/product.h"

namespace latent::cuda {

/// Converts rows in a file's format, on the device, to the format of the kernels.
struct PackArgs {
    const void * source = nullptr;  // rows of [in][taps] in `type`, without gaps
    int type = 0;                   // latent_cuda_type
    int rows = 0, in = 0, taps = 1;
    int padded = 0;  // in, rounded up to 8
    void * data = nullptr;
    void * scales = nullptr;
};

WeightKind kind_of_type(int type);
/// Bytes of a file's row of `count` elements; 0 if blocks do not divide it or the type is unknown.
uint64_t row_bytes(int type, int64_t count);
uint64_t packed_bytes(WeightKind kind, int64_t rows, int64_t padded, int64_t taps);
/// With kScalesPastEnd.
uint64_t scale_bytes(WeightKind kind, int64_t rows, int64_t elements);

template <typename T>
void pack_matrix(const PackArgs & p, cudaStream_t stream);
/// Converts to float32; elements beyond `count`, up to a multiple of 8, become 0.
void pack_vector(const void * source, int type, float * data, int count, cudaStream_t stream);

}  // namespace latent::cuda
