#pragma once

#include <array>

#include "graph/ops_ggml.h"
#include "kernels/tile.h"

namespace latent::graph {

/// The CPU's own home of the vocabulary: the heavy layers and their neighbours run in our kernels, each as one custom node of the
/// ggml graph, so that ggml's allocator plans their memory. They share their work out over the device's pool. Layouts are those
/// of OpsGgml, and whatever is not overridden here is plain ggml.
///
/// conv: implicit GEMM, nothing unfolded; bias, time embedding and residual in the epilogue; upsampling and padding folded in.
/// linear: weights used as they lie, 16-bit or quantised; bias, activation and residual in the epilogue.
/// attention: flash attention of any head width, scores of 64 queries and 256 keys at a time.
/// norms: one pass with affine and activation.
class OpsCpu final : public OpsGgml {
public:
    OpsCpu(ggml_context * nodes, ggml_context * leaves, ggml_cgraph * graph, const Runner::Limits & limits, Device & device,
           kernels::Arithmetic arithmetic);

    Map conv(Map x, const Conv & w, const ConvOptions & options) override;
    Map group_norm(Map x, const Norm & w, const GroupNormOptions & options) override;
    Seq linear(Seq x, const Linear & w, const LinearOptions & options) override;
    Seq geglu(Seq x, const Linear & w) override;
    Seq layer_norm(Seq x, const Norm & w, float eps) override;
    Seq attention(Seq q, Seq k, Seq v, const AttentionOptions & options) override;

private:
    ggml_tensor * contiguous(int id);
    template <typename Node>
    ggml_tensor * node(Node data, const std::array<int64_t, 4> & ne, std::vector<ggml_tensor *> sources);
    const kernels::TileSet & tiles(int64_t in, int64_t out) const;

    Device & device_;
    kernels::Arithmetic arithmetic_;
};

}  // namespace latent::graph
