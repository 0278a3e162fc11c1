#pragma once

#include <string>
#include <vector>

#include "graph/cuda/cuda_graph.h"
#include "graph/ops.h"

namespace latent::graph {

/// The CUDA implementation of the operations: records a program of the CUDA engine. A value is rows of channels, so a map and its
/// pixels as tokens are the same value. A concatenation, an addition to the result of a product, and upsampling before a
/// convolution are fused into the engine's kernels.
class OpsCuda final : public Ops {
public:
    explicit OpsCuda(CudaGraph & graph) : graph_(graph) {}

    Map input_map(const std::string & name, int64_t width, int64_t height, int64_t channels, int64_t batch) override;
    Seq input_seq(const std::string & name, int64_t dim, int64_t length, int64_t batch) override;
    Ids input_ids(const std::string & name, int64_t length, int64_t batch) override;
    void output(const std::string & name, Map x) override;
    void output(const std::string & name, Seq x) override;

    Map conv(Map x, const Conv & w, const ConvOptions & options) override;
    Map group_norm(Map x, const Norm & w, const GroupNormOptions & options) override;
    Map affine(Map x, Seq scale, Seq shift, Activation kind) override;
    Map activation(Map x, Activation kind) override;
    Map add(Map a, Map b) override;
    Map concat(Map a, Map b) override;
    Map avg_pool2(Map x) override;
    Map upsample2(Map x) override;

    Seq to_seq(Map x) override { return {x.id, x.channels, x.width * x.height, x.batch}; }
    Map to_map(Seq x, int64_t width, int64_t height) override { return {x.id, width, height, x.dim, x.batch}; }
    Seq linear(Seq x, const Linear & w, const LinearOptions & options) override;
    Seq geglu(Seq x, const Linear & w, const SideProduct & side) override;
    Seq gate(Seq both) override;
    Seq layer_norm(Seq x, const Norm & w, float eps) override;
    Seq attention(Seq q, Seq k, Seq v, const AttentionOptions & options) override;
    Seq activation(Seq x, Activation kind) override;
    Seq add(Seq a, Seq b) override;
    Seq concat(Seq a, Seq b) override;
    Seq slice(Seq x, int64_t first, int64_t count) override;
    std::vector<Seq> split_heads_qkv(Seq x, int heads) override;
    /// Every product takes one, in the same sum.
    bool adds_sides(const Parameter &, Seq) const override { return true; }
    Map scaled(Map x, const Parameter * gain, const Parameter * shift) override;
    Seq scaled(Seq x, const Parameter * gain, const Parameter * shift) override;
    Seq add_blocks(Seq x, const BlockProduct & w, const Parameter * bias) override;
    Seq folded(Seq x, int64_t dim) override;
    Seq mixed(Seq x, const Parameter * w, Seq residual) override;
    Seq embed(Ids ids, const Embedding & w) override;
    Seq add_positions(Seq x, const Parameter * table) override;

private:
    /// Records an operation of one result.
    template <typename Function, typename... Arguments>
    int record(const std::string & what, Function function, Arguments... arguments) const;

    CudaGraph & graph_;
};

}  // namespace latent::graph
