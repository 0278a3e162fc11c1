#pragma once

#include <cstdint>

#include "cuda/device_code.h"

namespace latent::cuda {

/// Normalises each image's groups of channels over all pixels; reads two sources of channels side by side. Two launches: the
/// moments of slices of pixels, then merged (Chan) and applied.
struct GroupNormArgs {
    const void *x1 = nullptr, *x2 = nullptr;
    int c1 = 0, c2 = 0;  // padded channels of each; c2 0: one source
    int channels = 0;    // total, without padding
    int batch = 0, pixels = 0, groups = 0;
    float eps = 0;
    int activation = 0;
    const float *weight = nullptr, *bias = nullptr;
    const float *scale = nullptr, *shift = nullptr;  // [batch, extra_stride], or null
    int extra_stride = 0;
    float * moments = nullptr;  // [batch, slices, groups, 2]: mean and sum of squared distances
    int slices = 0;
    void * y = nullptr;
    int blocks = 0;  // per image, of the second launch
};

/// Fills in slices and blocks.
void plan_group_norm(GroupNormArgs & p, int multiprocessors);
uint64_t group_norm_workspace(const GroupNormArgs & p);
template <typename T>
void group_norm(const GroupNormArgs & p, cudaStream_t stream);

/// T: bf16, f16 or float.
struct LayerNormArgs {
    const void * x = nullptr;
    const float *weight = nullptr, *bias = nullptr;
    void * y = nullptr;
    int rows = 0, dim = 0, stride = 0;
    float eps = 0;
};
template <typename T>
void layer_norm(const LayerNormArgs & p, cudaStream_t stream);

}  // namespace latent::cuda
