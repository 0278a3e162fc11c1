#pragma once

#include <memory>
#include <vector>

#include "graph/cuda/cuda_device.h"
#include "graph/weights.h"

namespace latent::graph {

/// A tensor of the CUDA engine.
class CudaResident final : public Resident {
public:
    CudaResident(std::shared_ptr<CudaDevice> device, const latent_cuda_tensor_desc & desc, DType data);
    ~CudaResident() override;

    latent_cuda_tensor * tensor() const { return tensor_; }
    /// The type of the data passed to load().
    DType data() const { return data_; }

private:
    std::shared_ptr<CudaDevice> device_;
    latent_cuda_tensor * tensor_ = nullptr;
    DType data_;
};

/// The tensor of a parameter that is present.
inline const latent_cuda_tensor * cuda_tensor_of(const Parameter * parameter) {
    return parameter ? static_cast<const CudaResident *>(parameter->resident.get())->tensor() : nullptr;
}

/// Weights on a GPU: matrices as bfloat16 or the file's quantised blocks (q8_0, q4_0, q4_k), vectors as float32. Tensors are
/// uploaded one after the other; the host holds at most one converted tensor.
class CudaWeights final : public WeightStorage {
public:
    explicit CudaWeights(const DevicePtr & device);

    DType resident_type(const Parameter & parameter, DType stored, DType wanted) const override;
    uint64_t bytes(const Parameter & parameter) const override;
    std::unique_ptr<Resident> declare(const Parameter & parameter, DType stored) override;
    bool takes_in_place(const Parameter &, DType, Span<const uint8_t>) const override { return false; }
    void allocate(const std::vector<Placement> & parameters) override;
    void load(const Parameter & parameter, DType stored, Span<const uint8_t> data) override;
    void read(const Parameter & parameter, Span<float> out) const override;
    void unload(const std::vector<const Parameter *> & parameters) override;

private:
    std::shared_ptr<CudaDevice> device_;
};

}  // namespace latent::graph
