#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/block_order.h"
#include "graph/weights.h"

namespace latent::graph {

// The operations that networks are written in; every home (home.h) implements them. Values are opaque: the home decides how they
// are stored, and whether they are stored at all (upsampling or a concatenation may be fused into the next convolution).

/// An image-like value, [batch, channels, height, width] in torch's notation.
struct Map {
    int id = -1;
    int64_t width = 0, height = 0, channels = 0, batch = 0;
    explicit operator bool() const { return id >= 0; }
};

/// Tokens, [batch, length, dim] in torch's notation. A vector per image is a Seq of length 1.
struct Seq {
    int id = -1;
    int64_t dim = 0, length = 0, batch = 0;
    explicit operator bool() const { return id >= 0; }
};

/// Integer token ids, [batch, length]. Every id must be inside its table (checked by the caller).
struct Ids {
    int id = -1;
    int64_t length = 0, batch = 0;
};

enum class Activation { none, silu, gelu, quick_gelu, relu };  // gelu is the exact (erf) form

enum class Padding {
    same,          // (kernel - 1) / 2 on every side
    right_bottom,  // 1 on the right and at the bottom only (the autoencoders' downsampling)
    none,
};

/// What an adapter adds to a layer: up * low[first, first + rank), low being Ops::low_rank() of the layer's input.
struct SideProduct {
    Seq low;  // for a convolution, a token per pixel of the result
    const Parameter * up = nullptr;
    int64_t first = 0;
    explicit operator bool() const { return up != nullptr; }
};

/// A square matrix of blocks.
struct BlockProduct {
    const Parameter * weight = nullptr;  // [blocks * size, size], or [size, size]: one for all
    BlockOrder order;
};

struct ConvOptions {
    int stride = 1;
    Padding padding = Padding::same;
    bool upsample = false;                     // nearest, twice the size, before the convolution
    int64_t crop_width = 0, crop_height = 0;   // with upsample: size of the part of the upsampled map to use, 0: all of it
    int64_t first_row = 0, rows = 0;           // part of the result to compute: `rows` rows from `first_row`, 0: all
    Seq channel_add;                           // [batch, 1, out]: added to every pixel (the time embedding)
    Activation activation = Activation::none;  // before the residual
    Map residual;                              // added to the result
    SideProduct side;                          // added before everything else, only if adds_sides()
};

struct GroupNormOptions {
    int groups = 32;
    float eps = 1e-5f;
    Activation activation = Activation::none;
    Seq scale, shift;  // [batch, 1, channels]: norm(x) * (1 + scale) + shift before the activation
};

struct LinearOptions {
    Activation activation = Activation::none;
    Seq residual;      // added after the activation
    SideProduct side;  // added before the activation, only if adds_sides()
};

struct AttentionOptions {
    int heads = 1;
    bool causal = false;
};

class Ops {
public:
    virtual ~Ops() = default;

    // Inputs and outputs of the graph, by name; the host side is row-major float32 (Map: NCHW, Seq: [batch, length, dim]).
    virtual Map input_map(const std::string & name, int64_t width, int64_t height, int64_t channels, int64_t batch) = 0;
    virtual Seq input_seq(const std::string & name, int64_t dim, int64_t length, int64_t batch) = 0;
    virtual Ids input_ids(const std::string & name, int64_t length, int64_t batch) = 0;
    virtual void output(const std::string & name, Map x) = 0;
    virtual void output(const std::string & name, Seq x) = 0;

    // Images
    virtual Map conv(Map x, const Conv & w, const ConvOptions & options = {}) = 0;
    virtual Map group_norm(Map x, const Norm & w, const GroupNormOptions & options = {}) = 0;
    /// x * scale + shift, then the activation. scale, shift: [batch, 1, channels].
    virtual Map affine(Map x, Seq scale, Seq shift, Activation kind) = 0;
    virtual Map activation(Map x, Activation kind) = 0;
    virtual Map add(Map a, Map b) = 0;     // b may be 1x1: added to every pixel
    virtual Map concat(Map a, Map b) = 0;  // channels of a, then of b
    virtual Map avg_pool2(Map x) = 0;      // 2x2 means, stride 2
    virtual Map upsample2(Map x) = 0;      // nearest

    // Tokens
    virtual Seq to_seq(Map x) = 0;  // a token per pixel, rows of the image one after another
    virtual Map to_map(Seq x, int64_t width, int64_t height) = 0;
    virtual Seq linear(Seq x, const Linear & w, const LinearOptions & options = {}) = 0;
    /// x * W with 2 * out rows, value then gate: value * gelu(gate).
    virtual Seq geglu(Seq x, const Linear & w, const SideProduct & side = {}) = 0;
    /// The second part of geglu(): [value, gate] to value * gelu(gate).
    virtual Seq gate(Seq both) = 0;
    virtual Seq layer_norm(Seq x, const Norm & w, float eps = 1e-5f) = 0;
    /// Scaled dot product, scale 1/sqrt(dim / heads). q: [b, lq, dim], k and v: [b, lk, dim], heads side by side in dim.
    virtual Seq attention(Seq q, Seq k, Seq v, const AttentionOptions & options) = 0;
    virtual Seq activation(Seq x, Activation kind) = 0;
    virtual Seq add(Seq a, Seq b) = 0;
    virtual Seq concat(Seq a, Seq b) = 0;  // tokens of a, then of b
    /// Dimensions [first, first + count) of every token.
    virtual Seq slice(Seq x, int64_t first, int64_t count) = 0;
    /// Splits [b, len, heads * 3 * d], stored as q, k, v per head (the AttentionBlock's order), into three of [b, len, heads *
    /// d].
    virtual std::vector<Seq> split_heads_qkv(Seq x, int heads) = 0;

    // Adapters (AdaptedOps)
    /// Whether the layer of this weight takes a SideProduct; x: its input, or for a convolution the pixels of its result.
    virtual bool adds_sides(const Parameter & /*weight*/, Seq /*x*/) const { return false; }
    /// The lower factor of side products of `layer`. Only they read it, so it may be rounded like the layer's input.
    virtual Seq low_rank(Seq x, const Linear & down, const Linear & /*layer*/) { return linear(x, down); }
    virtual Map low_rank(Map x, const Conv & down, const Conv & /*layer*/, const ConvOptions & options) {
        return conv(x, down, options);
    }

    // If the home transforms() what layers read and write
    /// x * gain + shift, [channels] each; one of them may be null.
    virtual Map scaled(Map x, const Parameter * gain, const Parameter * shift);
    virtual Seq scaled(Seq x, const Parameter * gain, const Parameter * shift);
    /// x + W x + bias, which may be null.
    virtual Seq add_blocks(Seq x, const BlockProduct & w, const Parameter * bias);
    /// The same numbers as tokens of `dim` channels: the parts of a token follow each other.
    virtual Seq folded(Seq x, int64_t dim);
    /// Channels in groups, as many as the [rows, columns] matrix `w` has columns: every group of the result is a sum of them,
    /// y[i] = residual[i] + sum over j of w[i][j] x[j]. The residual may be absent.
    virtual Seq mixed(Seq x, const Parameter * w, Seq residual);

    virtual Seq embed(Ids ids, const Embedding & w) = 0;
    /// Adds row i of a [rows, dim] table to token i.
    virtual Seq add_positions(Seq x, const Parameter * table) = 0;
};

/// Sinusoidal embedding of a timestep, width `dim` (even): cosines first, then sines, frequencies max_period^(-i/half). Angles
/// are computed in double. openaimodel.timestep_embedding.
void timestep_embedding(double timestep, int dim, float * out, double max_period = 10000.0);

}  // namespace latent::graph
