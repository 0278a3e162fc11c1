#pragma once

#include <memory>
#include <vector>

#include "cuda/device.h"
#include "cuda/product.h"

namespace latent::cuda {

/// Whether a tensor of this type and role is supported.
bool type_supported(int type, int role);

/// Device memory of one tensor or several. The driver takes memory in pages of 2 MB, so together they take least.
class WeightBlock {
public:
    WeightBlock(Device & device, uint64_t bytes)
        : device_(device), bytes_(bytes), data_(static_cast<char *>(device.take(bytes, MemoryUse::weights, "weights"))) {}
    ~WeightBlock() { device_.give(data_, bytes_, MemoryUse::weights); }
    WeightBlock(const WeightBlock &) = delete;
    WeightBlock & operator=(const WeightBlock &) = delete;
    char * data() const { return data_; }

private:
    Device & device_;
    uint64_t bytes_;
    char * data_;
};

/// One tensor of a model. Programs share it, so that they can detect whether it has changed since they captured it.
class Tensor {
public:
    Tensor(Device & device, const latent_cuda_tensor_desc & desc);
    ~Tensor() { unload(); }
    Tensor(const Tensor &) = delete;
    Tensor & operator=(const Tensor &) = delete;

    /// Unloads it and gives it bytes() of a block, from `offset` on, a multiple of 256.
    void place(std::shared_ptr<const WeightBlock> block, uint64_t offset);
    /// Takes a block of its own if it has no place.
    void load(const void * data, uint64_t bytes);
    /// Gives up its place.
    void unload() noexcept;
    bool loaded() const { return loaded_; }
    /// Changes when the values move.
    uint64_t generation() const { return generation_; }
    uint64_t bytes() const { return aligned(data_bytes_) + aligned(scale_bytes_); }
    std::vector<float> read() const;

    const latent_cuda_tensor_desc & desc() const { return desc_; }
    const Device & device() const { return device_; }
    int64_t padded_in() const { return (desc_.in + 7) / 8 * 8; }
    WeightKind kind() const;
    /// For a matrix; addresses are null until it has a place.
    WeightView view() const;
    const float * vector() const { return static_cast<const float *>(data_); }
    const void * table() const { return data_; }

private:
    static uint64_t aligned(uint64_t bytes) { return (bytes + 255) / 256 * 256; }

    Device & device_;
    latent_cuda_tensor_desc desc_;
    uint64_t file_bytes_ = 0, data_bytes_ = 0, scale_bytes_ = 0, generation_ = 0;
    std::shared_ptr<const WeightBlock> block_;
    void *data_ = nullptr, *scales_ = nullptr;
    bool loaded_ = false;
};

using TensorPtr = std::shared_ptr<const Tensor>;

/// The numbers of a vector, null if there is none.
inline const float * numbers_of(const TensorPtr & tensor) {
    return tensor ? tensor->vector() : nullptr;
}

}  // namespace latent::cuda
