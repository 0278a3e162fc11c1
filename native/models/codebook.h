#pragma once

#include <cstdint>
#include <vector>

#include "core/job.h"
#include "core/span.h"
#include "kernels/common/pool.h"

namespace latent::models {

/// The nearest-code search of taming's VectorQuantizer2: squared distances |z|^2 + |e|^2 - 2 z.e in float32, the first of equal
/// ones (torch.argmin).
class Codebook {
public:
    /// vectors [count, dim].
    Codebook(Span<const float> vectors, int64_t count, int64_t dim);

    int64_t count() const { return count_; }
    int64_t dim() const { return dim_; }

    /// z [batch, dim, plane] -> codes [batch, plane]. `pool` may be null. Throws aborted soon after `cancel` is set.
    void nearest(Span<const float> z, int64_t batch, int64_t plane, Span<int32_t> codes, kernels::Pool * pool,
                 const CancelToken & cancel) const;
    /// codes [batch, plane] -> z [batch, dim, plane]. Throws invalid_argument for a code that does not exist.
    void lookup(Span<const int32_t> codes, int64_t batch, int64_t plane, Span<float> z) const;

private:
    int32_t nearest(const float * z, int64_t stride) const;

    int64_t count_, dim_;
    int64_t padded_;              // count, rounded up to whole groups
    std::vector<float> columns_;  // [dim, padded]
    std::vector<float> squares_;  // [padded]: |e|^2, infinite beyond count
};

}  // namespace latent::models
