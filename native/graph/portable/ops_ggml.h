#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graph/ops.h"
#include "graph/portable/ggml_handles.h"
#include "graph/portable/ggml_weights.h"
#include "graph/runner.h"

namespace latent::graph {

/// Thrown while building if the context has no room for another node; the build is then repeated with a larger one.
struct GraphFull {};

/// Where a graph is recorded: `nodes` receives the operations, `leaves` the inputs and constants (both without data).
struct GgmlGraphParts {
    ggml_context * nodes;
    ggml_context * leaves;
    ggml_cgraph * graph;
};

/// The portable implementation of the operations: plain ggml operations, float32 activations.
///   Map: ne = [width, height, channels, batch], contiguous.   Seq: ne = [dim, length, batch], contiguous.
/// Convolutions unfold their input (im2col, f32) in bands of rows of bounded size and multiply by the weight matrix, so weights
/// may have any type that ggml can multiply; attention computes its scores in chunks of queries of bounded size.
class OpsGgml : public Ops {
public:
    /// `on_host`: nodes may be host functions, and products run on ggml's CPU backend.
    OpsGgml(const GgmlGraphParts & parts, bool on_host, const Runner::Limits & limits);

    struct Constant {
        ggml_tensor * tensor;
        std::vector<float> values;
    };
    const std::map<std::string, ggml_tensor *> & inputs() const { return inputs_; }
    const std::map<std::string, ggml_tensor *> & outputs() const { return outputs_; }
    const std::vector<Constant> & constants() const { return constants_; }
    double flops() const { return flops_; }
    /// Largest scratch bytes of our custom nodes, per thread; ggml's own plan includes its nodes.
    uint64_t thread_scratch() const { return thread_scratch_; }
    /// Data other than tensors that nodes refer to; must live as long as the graph.
    const std::vector<std::shared_ptr<void>> & owned() const { return owned_; }

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

    Seq to_seq(Map x) override;
    Map to_map(Seq x, int64_t width, int64_t height) override;
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
    Map scaled(Map x, const Parameter * gain, const Parameter * shift) override;
    Seq scaled(Seq x, const Parameter * gain, const Parameter * shift) override;
    Seq add_blocks(Seq x, const BlockProduct & w, const Parameter * bias) override;
    Seq folded(Seq x, int64_t dim) override;
    Seq mixed(Seq x, const Parameter * w, Seq residual) override;
    Seq embed(Ids ids, const Embedding & w) override;
    Seq add_positions(Seq x, const Parameter * table) override;

protected:
    struct ConvShape;
    struct Heads;

    /// The float32 tensor of a value.
    virtual ggml_tensor * tensor(int id);
    int keep(ggml_tensor * t);
    virtual Map map(ggml_tensor * t);
    Seq seq(ggml_tensor * t);
    void room(size_t tensors) const;
    void expand(ggml_tensor * t);
    ggml_tensor * ordered(ggml_tensor * view, ggml_tensor * previous);
    ggml_tensor * unset(int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3);
    ggml_tensor * leaf(ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3);
    ggml_tensor * constant(const std::string & key, int64_t ne0, int64_t ne1, const std::vector<float> & values);
    ggml_tensor * kernel_shape(int kernel, int64_t channels);
    ggml_tensor * product(ggml_tensor * a, ggml_tensor * b);
    ggml_tensor * contiguous(ggml_tensor * t);
    template <typename Layer>
    ggml_tensor * multiply(const Layer & w, ggml_tensor * columns);
    ggml_tensor * multiplied(const Parameter * weight, ggml_tensor * columns);
    ggml_tensor * activate(ggml_tensor * t, Activation kind);
    ggml_tensor * transposed(ggml_tensor * t);

    ggml_tensor * conv_whole(ggml_tensor * x, const Conv & w, const ConvShape & shape, ggml_tensor * channel_add);
    ggml_tensor * conv_pointwise(ggml_tensor * x, const Conv & w, ggml_tensor * channel_add);
    ggml_tensor * conv_banded(ggml_tensor * x, const Conv & w, const ConvShape & shape, ggml_tensor * channel_add);
    ggml_tensor * conv_band(ggml_tensor * image, const Conv & w, const ConvShape & shape, int64_t row, int64_t rows);
    ggml_tensor * attend(ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, const Heads & heads, ggml_tensor * mask);

    ggml_context * nodes_;
    ggml_context * leaves_;
    ggml_cgraph * graph_;
    bool on_host_;
    Runner::Limits limits_;
    std::vector<ggml_tensor *> values_;
    std::map<std::string, ggml_tensor *> inputs_, outputs_;
    std::map<std::string, ggml_tensor *> constants_by_key_;
    std::map<std::pair<int, int64_t>, ggml_tensor *> kernel_shapes_;
    std::vector<Constant> constants_;
    std::vector<std::shared_ptr<void>> owned_;
    double flops_ = 0;
    uint64_t thread_scratch_ = 0;
};

/// columns [inner, n...] -> [rows, n...], times the gain, bias added.
template <typename Layer>
ggml_tensor * OpsGgml::multiply(const Layer & w, ggml_tensor * columns) {
    ggml_tensor * y = multiplied(w.weight, columns);
    if (w.gain) y = ggml_mul_inplace(nodes_, y, tensor_of(w.gain));
    return w.bias ? ggml_add_inplace(nodes_, y, tensor_of(w.bias)) : y;
}

}  // namespace latent::graph
