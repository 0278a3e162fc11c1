#pragma once

#include <memory>
#include <vector>

#include "cuda/device.h"
#include "cuda/product.h"

namespace latent::cuda {

/// Whether a tensor of this type and role is supported.
bool type_supported(int type, int role);

/// One tensor of a model. Programs share it, so that they can detect whether it has changed since they captured it.
class Tensor {
public:
    Tensor(Device & device, const latent_cuda_tensor_desc & desc);
    ~Tensor() { unload(); }
    Tensor(const Tensor &) = delete;
    Tensor & operator=(const Tensor &) = delete;

    void load(const void * data, uint64_t bytes);
    void unload() noexcept;
    bool loaded() const { return data_ != nullptr; }
    /// Changes when the values move.
    uint64_t generation() const { return generation_; }
    uint64_t bytes() const { return data_bytes_ + scale_bytes_; }
    std::vector<float> read() const;

    const latent_cuda_tensor_desc & desc() const { return desc_; }
    const Device & device() const { return device_; }
    int64_t padded_in() const { return (desc_.in + 7) / 8 * 8; }
    WeightKind kind() const;
    /// For a matrix; addresses are null until it is loaded.
    WeightView view() const;
    const float * vector() const { return static_cast<const float *>(data_); }
    const void * table() const { return data_; }

private:
    Device & device_;
    latent_cuda_tensor_desc desc_;
    uint64_t file_bytes_ = 0, data_bytes_ = 0, scale_bytes_ = 0, generation_ = 0;
    void *data_ = nullptr, *scales_ = nullptr;
};

using TensorPtr = std::shared_ptr<const Tensor>;

/// The numbers of a vector, null if there is none.
inline const float * numbers_of(const TensorPtr & tensor) {
    return tensor ? tensor->vector() : nullptr;
}

}  // namespace latent::cuda
