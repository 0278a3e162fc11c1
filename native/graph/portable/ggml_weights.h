#pragma once

#include <memory>
#include <vector>

#include "graph/device.h"
#include "graph/portable/ggml_handles.h"
#include "graph/weights.h"

namespace latent::graph {

/// A tensor of ggml: [inner, rows] for matrices, [n] for vectors.
struct GgmlResident final : Resident {
    ggml_tensor * tensor = nullptr;
    ggml_context_ptr context;  // of this tensor alone
};

/// The tensor of a parameter that is present.
inline ggml_tensor * tensor_of(const Parameter * parameter) {
    return static_cast<const GgmlResident *>(parameter->resident.get())->tensor;
}

/// Weights as ggml tensors: in the mapped file if possible, else in buffers of the device. Any type that ggml can multiply.
class GgmlWeights : public WeightStorage {
public:
    explicit GgmlWeights(const DevicePtr & device);

    DType resident_type(const Parameter & parameter, DType stored, DType wanted) const override;
    uint64_t bytes(const Parameter & parameter) const override;
    std::unique_ptr<Resident> declare(const Parameter & parameter, DType stored) override;
    bool takes_in_place(const Parameter & parameter, DType stored, Span<const uint8_t> bytes) const override;
    void allocate(const std::vector<Placement> & parameters) override;
    void load(const Parameter & parameter, DType stored, Span<const uint8_t> data) override;
    void read(const Parameter & parameter, Span<float> out) const override;
    void unload(const std::vector<const Parameter *> & parameters) override;

private:
    void place_in_file(const Placement & placement);
    void place_in_buffer(const std::vector<const Parameter *> & parameters, size_t bytes);
    size_t padded(const Parameter & parameter) const;

    DevicePtr device_;
    ggml_backend_buffer_type * type_;
    std::vector<ggml_backend_buffer_ptr> buffers_;
    std::vector<uint8_t> scratch_;  // for conversions, on devices that do not share the host's memory
};

}  // namespace latent::graph
