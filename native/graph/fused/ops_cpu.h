#pragma once

#include <array>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "graph/fused/cpu_nodes.h"
#include "graph/portable/ggml_cpu_device.h"
#include "graph/portable/ops_ggml.h"
#include "kernels/common/rows.h"
#include "kernels/common/tile.h"

namespace latent::graph {

/// The CPU's own implementation of the operations: the heavy layers and their neighbours run in our kernels, each as one custom
/// node of the ggml graph, so that ggml's allocator plans their memory. Their work is distributed over the device's thread pool.
///   Map: ne = [channels, width, height, batch] (channels last).   Seq: ne = [dim, length, batch]. A map and its pixels as tokens
///   are the same memory. The host's maps are planar; inputs and outputs are converted.
///
/// Values are computed when needed, in the form that the reading product needs: a norm or a gate writes bfloat16 or int8 rows
/// directly, and a concatenation is two tensors side by side that a norm or a conversion reads.
///
/// conv, linear: implicit GEMM without unfolding; bias, time embedding, activation and residual in the epilogue; upsampling and
/// padding are part of it. attention: flash attention of any head width, scores of 64 queries and 256 keys at a time.
class OpsCpu final : public OpsGgml {
public:
    OpsCpu(const GgmlGraphParts & parts, const Runner::Limits & limits, GgmlCpuDevice & device, kernels::Arithmetic arithmetic);

    Map input_map(const std::string & name, int64_t width, int64_t height, int64_t channels, int64_t batch) override;
    using OpsGgml::output;
    void output(const std::string & name, Map x) override;

    Map conv(Map x, const Conv & w, const ConvOptions & options) override;
    Map group_norm(Map x, const Norm & w, const GroupNormOptions & options) override;
    Map affine(Map x, Seq scale, Seq shift, Activation kind) override;
    using OpsGgml::activation;
    Map activation(Map x, Activation kind) override;
    Map concat(Map a, Map b) override;
    Map avg_pool2(Map x) override;
    Map upsample2(Map x) override;

    Seq to_seq(Map x) override;
    Map to_map(Seq x, int64_t width, int64_t height) override;
    Seq linear(Seq x, const Linear & w, const LinearOptions & options) override;
    Seq geglu(Seq x, const Linear & w, const SideProduct & side) override;
    Seq gate(Seq both) override;
    Seq layer_norm(Seq x, const Norm & w, float eps) override;
    Seq attention(Seq q, Seq k, Seq v, const AttentionOptions & options) override;

    bool adds_sides(const Parameter & weight, Seq x) const override;
    Seq low_rank(Seq x, const Linear & down, const Linear & layer) override;
    Map low_rank(Map x, const Conv & down, const Conv & layer, const ConvOptions & options) override;
    Map scaled(Map x, const Parameter * gain, const Parameter * shift) override;
    Seq scaled(Seq x, const Parameter * gain, const Parameter * shift) override;
    Seq add_blocks(Seq x, const BlockProduct & w, const Parameter * bias) override;
    Seq mixed(Seq x, const Parameter * w, Seq residual) override;

private:
    using Shape = std::array<int64_t, 4>;

    /// How to compute a value that is not a tensor yet.
    struct Pending {
        Shape ne;
        std::function<ggml_tensor *(kernels::Form)> make;  // computes it in a form
        int alias = -1;                                    // the same rows as another value
        int left = -1, right = -1;                         // a concatenation: channels of one value, then of another
        ggml_tensor * made[3] = {nullptr, nullptr, nullptr};
    };

    /// A convolution or linear layer that is not computed yet.
    struct Product {
        int x;
        const Parameter *weight, *bias;
        kernels::ConvShape shape;
        const kernels::TileSet * tiles;
        std::string label;
        Shape ne;
        kernels::Gate activation = kernels::Gate::none;
        const Parameter * gain = nullptr;
        Seq channel_add = {};
        int residual = -1;
        bool geglu = false;
        SideProduct side = {};
        kernels::Form out = kernels::Form::f32;  // or bf16
    };

    ggml_tensor * tensor(int id) override;
    Map map(ggml_tensor * t) override;
    int pending(Pending value);
    Pending & rows_of(int id);
    ggml_tensor * in_form(int id, kernels::Form form);
    NodeRows sources_of(int id, std::vector<ggml_tensor *> & sources);
    ggml_tensor * contiguous(int id);
    kernels::Form form_of(const Parameter & weight, const kernels::TileSet & tiles) const;
    const kernels::TileSet & tiles(int64_t in, int64_t out) const;
    NodeKernels kernels_of(const kernels::TileSet & tiles) const;
    ggml_tensor * product(const Product & request);
    ggml_tensor * converted(ggml_tensor * rows, const Shape & ne, bool from_bf16, kernels::Form form);
    ggml_tensor * product_in(Product request, kernels::Form form, int id);
    bool multiplies(const Parameter & weight, Seq x) const;
    Product linear_product(Seq x, const Linear & w) const;
    Product conv_product(Map x, const Conv & w, const ConvOptions & options) const;
    int product_when_needed(const Product & request);
    int scaled_when_needed(int x, const Shape & ne, const Parameter * gain, const Parameter * shift);
    template <typename Node>
    ggml_tensor * node(Node data, std::string label, double flops, const Shape & ne, std::vector<ggml_tensor *> sources);
    template <typename Node>
    ggml_tensor * rows_node(Node data, std::string label, double flops, const kernels::RowFormat & format, const Shape & ne,
                            std::vector<ggml_tensor *> sources);

    GgmlCpuDevice & device_;
    kernels::Arithmetic arithmetic_;
    std::map<int, Pending> pending_;
    std::set<const ggml_tensor *> int8_products_;  // results of linear layers in 8-bit integers
};

}  // namespace latent::graph
