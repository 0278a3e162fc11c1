#pragma once

#include <map>
#include <string>
#include <vector>

#include "cuda/cuda_api.h"

// Stable Diffusion's U-Net and decoder over the function table, by CompVis's names, for measurements without the rest of the
// engine: weights out of a file that gpu-baseline.py writes, or random ones.

namespace cuda_bench {

const latent_cuda_api & table();
/// Throws with the engine's words.
void ok(int status);

struct StoredTensor {
    std::vector<int64_t> shape;
    std::vector<uint16_t> f16;
    std::vector<float> f32;  // inputs and expected outputs
};

/// Tensors by name. The file: lines "name f16|f32 offset dims...", an empty line, then the numbers.
class TensorFile {
public:
    TensorFile() = default;
    explicit TensorFile(const std::string & path);
    bool empty() const { return tensors_.empty(); }
    const StoredTensor & at(const std::string & name) const;

private:
    std::map<std::string, StoredTensor> tensors_;
};

struct UNetShape {
    int64_t channels = 320, context = 768, heads = 8, tokens = 77, batch = 2, side = 64;
    std::vector<int64_t> mult = {1, 2, 4, 4};
    int blocks = 2;
    std::vector<int64_t> attention = {1, 2, 4};
    static UNetShape tiny() { return {32, 24, 4, 7, 2, 8, {1, 2}, 1, {1, 2}}; }
};
struct DecoderShape {
    std::vector<int64_t> widths = {128, 256, 512, 512};
    int blocks = 2;
    int64_t side = 64;
    static DecoderShape tiny() { return {{32, 64}, 1, 4}; }
};

/// A network, recorded; finish() it, set inputs, run.
class Network {
public:
    /// `type`: of matrices, F16 as stored or Q8_0 of the same numbers. Without `load` the network can only be measured.
    Network(latent_cuda_device * device, const TensorFile & file, const std::string & prefix, int type, bool load = true);
    ~Network();
    Network(const Network &) = delete;
    Network & operator=(const Network &) = delete;

    void build_unet(const UNetShape & shape);
    void build_decoder(const DecoderShape & shape);
    uint64_t weight_bytes() const;
    void finish() { ok(table().program_finish(program)); }
    latent_cuda_program * program = nullptr;

private:
    struct Map {
        latent_cuda_value id = -1;
        int64_t height = 0, width = 0, channels = 0;
    };
    struct Extra {
        latent_cuda_value add = -1, residual = -1;
        int stride = 1, upsample = 0;
    };
    latent_cuda_tensor * tensor(const std::string & name, latent_cuda_tensor_desc desc);
    latent_cuda_tensor * matrix(const std::string & name, int64_t out, int64_t in, int kernel);
    latent_cuda_tensor * vector(const std::string & name, int64_t count);
    Map conv(Map x, const std::string & name, int64_t out, int kernel) { return conv(x, name, out, kernel, Extra()); }
    Map conv(Map x, const std::string & name, int64_t out, int kernel, Extra extra);
    latent_cuda_value linear(latent_cuda_value x, const std::string & name, int64_t in, int64_t out, bool bias,
                             int activation = 0, bool geglu = false, latent_cuda_value residual = -1);
    Map group_norm(Map x, const std::string & name, float eps, int activation);
    latent_cuda_value layer_norm(latent_cuda_value x, const std::string & name, int64_t dim);
    latent_cuda_value attend(latent_cuda_value x, latent_cuda_value context, const std::string & name, int64_t dim,
                             int64_t context_dim, int64_t heads, latent_cuda_value residual);
    Map res_block(Map x, latent_cuda_value emb, const std::string & name, int64_t out, int64_t emb_dim);
    Map transformer(Map x, latent_cuda_value context, const std::string & name, int64_t context_dim, int64_t heads);
    Map concat(Map a, Map b);
    Map stage_block(Map x, const std::string & name, int64_t out);
    Map stage_attention(Map x, const std::string & name);

    latent_cuda_device * device_;
    const TensorFile & file_;
    std::string prefix_;
    int type_;
    bool load_;
    uint32_t seed_ = 1;
    std::map<std::string, latent_cuda_tensor *> tensors_;
};

}  // namespace cuda_bench
