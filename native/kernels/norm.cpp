#include <cmath>

#include "kernels/vectors.h"

namespace latent::kernels {

void group_norm(const VectorSet & vectors, const GroupNormShape & s, const float * x, const float * weight, const float * bias,
                const float * scale, const float * shift, float * out, Part part) {
    const int64_t per_group = s.channels / s.groups;
    for (int64_t task = part.thread; task < s.n * s.groups; task += part.threads) {
        const int64_t n = task / s.groups, first = task % s.groups * per_group;
        const int64_t at = (n * s.channels + first) * s.pixels;
        float mean = 0, variance = 0;
        vectors.moments(x + at, per_group * s.pixels, &mean, &variance);
        const float factor = 1.0f / std::sqrt(variance + s.eps);
        for (int64_t c = first; c < first + per_group; ++c) {
            float a = factor * weight[c], b = bias[c] - mean * a;
            if (scale) {
                const float up = 1.0f + scale[n * s.channels + c];
                a *= up;
                b = b * up + shift[n * s.channels + c];
            }
            const int64_t row = (n * s.channels + c) * s.pixels;
            vectors.affine(x + row, out + row, s.pixels, a, b, s.gate);
        }
    }
}

void layer_norm(const VectorSet & vectors, const float * x, int64_t rows, int64_t dim, float eps, const float * weight,
                const float * bias, float * out, Part part) {
    for (int64_t row = rows * part.thread / part.threads; row < rows * (part.thread + 1) / part.threads; ++row) {
        float mean = 0, variance = 0;
        vectors.moments(x + row * dim, dim, &mean, &variance);
        vectors.normalise(x + row * dim, out + row * dim, dim, mean, 1.0f / std::sqrt(variance + eps), weight, bias);
    }
}

void geglu(const VectorSet & vectors, const float * x, int64_t tokens, int64_t dim, float * out, Part part) {
    for (int64_t token = tokens * part.thread / part.threads; token < tokens * (part.thread + 1) / part.threads; ++token) {
        const float * row = x + token * 2 * dim;
        vectors.geglu(row, row + dim, out + token * dim, dim);
    }
}

}  // namespace latent::kernels
