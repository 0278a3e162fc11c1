#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cuda/product.h"
#include "cuda/tensor.h"

namespace latent::cuda {

/// A value while it is recorded.
struct Value {
    int64_t batch = 0, length = 0, channels = 0;
    bool f32 = false;                             // float32 vector per image; else the device's element type
    bool ids = false;                             // int32
    int left = -1, right = -1;                    // a concatenation of channels that is not stored
    int made = -1, as_f32 = -1, as_element = -1;  // the stored concatenation; the value in the other type
    int same = -1;                                // the value whose memory this one has, as rows of another length

    int64_t rows() const { return batch * length; }
    int64_t stride() const { return (channels + 7) / 8 * 8; }
    uint64_t bytes() const {
        return ids ? static_cast<uint64_t>(rows()) * 4 : static_cast<uint64_t>(rows() * stride()) * (f32 ? 4 : 2);
    }
};

/// Another value of the same images and type.
inline Value like(const Value & v, int64_t length, int64_t channels) {
    Value y;
    y.batch = v.batch, y.length = length, y.channels = channels, y.f32 = v.f32;
    return y;
}

/// Calls f with a value of the rows' type.
template <typename F>
void with_type(bool f32, bool half, F f) {
    if (f32) return f(float{});
    half ? f(f16{}) : f(bf16{});
}

/// A launch's data: addresses of values, and its work space.
class Frame {
public:
    virtual ~Frame() = default;
    virtual void * at(int value) const = 0;
    virtual bool f32(int value) const = 0;
    float * vector(int value) const { return value < 0 ? nullptr : static_cast<float *>(at(value)); }
    cudaStream_t stream = nullptr;
    void * workspace = nullptr;
};

/// A convolution or linear layer. The plan may change it (fuse an addition, keep a float32 result).
struct Product {
    ProductArgs args;
    ProductPlan plan;
    int x1 = -1, x2 = -1, channel_add = -1, residual = -1;
    TensorPtr weight, gain, bias;
    int low = -1;  // of an adapter, with its upper factor
    int64_t low_first = 0;
    TensorPtr up;
};

/// Of a convolution or linear layer; all but the weight may be null.
struct LayerTensors {
    TensorPtr weight, gain, bias, up;
};

struct Node {
    std::string label;
    double flops = 0;
    int launches = 1;
    std::vector<int> reads;
    int writes = -1;  // -1: an output of the program
    uint64_t workspace = 0;
    std::shared_ptr<Product> product;
    bool adds = false;  // reads[0] + reads[1]
    std::function<void(const Frame &)> launch;
};

/// Data that the host writes or reads, float32 in its layout, or int32.
struct Port {
    std::string name;
    int value = -1;
    bool planes = false, input = false;
    int64_t height = 1, width = 1;
    void * buffer = nullptr;  // outputs: float32 for the host; inputs: the value itself
    uint64_t bytes = 0;
};

/// The recorded program in order of execution, with fused additions, and the positions of its values in one arena.
struct Plan {
    std::vector<Node> nodes;
    std::vector<bool> f32;            // by value
    std::vector<uint64_t> offset;     // by value; of inputs UINT64_MAX
    std::vector<uint64_t> workspace;  // by node
    std::vector<size_t> slices;       // first node of each, and the end
    uint64_t arena = 0;
    double flops = 0;
    int launches = 0;
};

class Program {
public:
    explicit Program(Device & device) : device_(device) {}
    ~Program();
    Program(const Program &) = delete;
    Program & operator=(const Program &) = delete;

    // ---- recording (record.cpp, record_rows.cpp); all throw INVALID if shapes do not fit ----
    int input(const std::string & name, Value value, bool planes, int64_t height, int64_t width);
    void output(const std::string & name, int x, bool planes, int64_t height, int64_t width);
    int conv(const latent_cuda_conv & c, LayerTensors tensors);
    int linear(const latent_cuda_linear & c, LayerTensors tensors);
    int group_norm(const latent_cuda_group_norm & c, TensorPtr weight, TensorPtr bias);
    int layer_norm(int x, TensorPtr weight, TensorPtr bias, float eps);
    int attention(const latent_cuda_attention & c);
    int affine(int x, int scale, int shift, int kind);
    int activation(int x, int kind);
    int add(int a, int b);
    int concat_channels(int a, int b);
    int concat_tokens(int a, int b);
    int resample(int x, int64_t height, int64_t width, bool up);
    int slice_channels(int x, int64_t first, int64_t count);
    void split_heads_qkv(int x, int heads, int * values);
    int embed(int ids, TensorPtr table);
    int add_positions(int x, TensorPtr table);

    // ---- what adapters do beside the products (record_adapters.cpp) ----
    int scale_channels(int x, TensorPtr gain, TensorPtr shift);
    int gate(int x);
    int add_blocks(const latent_cuda_blocks & c, TensorPtr weight, TensorPtr bias);
    int fold(int x, int64_t channels);
    int mix_groups(int x, TensorPtr weight, int residual);

    // ---- plan.cpp ----
    Plan plan() const;
    latent_cuda_measure measure() const;

    // ---- run.cpp ----
    void finish();
    void set_input(const std::string & name, const float * data, uint64_t count);
    void set_ids(const std::string & name, const int32_t * data, uint64_t count);
    void get_output(const std::string & name, float * out, uint64_t count);
    void transfer(const std::string & output, Program & to, const std::string & input);
    void run(int (*cancelled)(void *), void * user);
    int profile(latent_cuda_launch_time * times, int capacity);
    uint64_t size_of(const std::string & name, bool input) const;
    uint64_t bytes() const { return held_; }
    Device & device() const { return device_; }
    void require_recording() const;

private:
    friend class ArenaFrame;
    const Value & value(int id) const;
    int stored(int id) const;  // the value that has the memory
    int new_value(Value value);
    int add_node(Node node, Value value);
    int real(int id);             // stores a concatenation
    int typed(int id, bool f32);  // real, with that type
    int element(int id) { return typed(id, false); }
    int vector_of(int id, int64_t batch, int64_t channels, const char * what);
    void sources(int x, Product & product, std::vector<int> & reads);
    TensorPtr matrix(TensorPtr weight, int64_t in, const char * what);
    void need_vector(const TensorPtr & tensor, int64_t count, const char * what);
    int scale_images(int from, int scale, int shift, int kind, const char * label);
    int vector_linear(const latent_cuda_linear & c, const LayerTensors & tensors, int64_t out);
    void need_side(const latent_cuda_side & side, const TensorPtr & up, const TensorPtr & weight, const Value & y);
    void add_side(const latent_cuda_side & side, TensorPtr up, const Value & y, Product & product, Node & node);
    int pick(int x, int pieces, int64_t first, int64_t count, int64_t in_piece, int64_t out_piece, int64_t channels,
             const char * label);
    Port & port(const std::string & name, bool input);
    void new_port(Port port);
    uint64_t port_bytes() const;
    void launch_nodes(size_t first, size_t last);
    void require_fresh() const;
    void release() noexcept;
    void from_host(const Port & port, const void * source);

    Device & device_;
    std::vector<Value> values_;
    std::vector<Node> nodes_;
    std::vector<Port> ports_;
    std::map<const Tensor *, std::pair<TensorPtr, uint64_t>> tensors_;  // with their generations at capture
    bool finished_ = false;
    Plan plan_;
    char * arena_ = nullptr;
    uint64_t held_ = 0;
    std::vector<cudaGraphExec_t> graphs_;
    std::vector<cudaEvent_t> events_;
};

void launch_product(const Product & product, int y, const Frame & frame, bool half);

}  // namespace latent::cuda
