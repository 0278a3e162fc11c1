#include "graph/cuda/cuda_weights.h"

#include <optional>
#include <utility>

#include "graph/convert_rows.h"

namespace latent::graph {
namespace {

std::optional<latent_cuda_type> to_cuda(DType type) {
    switch (type) {
        case DType::f32: return LATENT_CUDA_F32;
        case DType::f16: return LATENT_CUDA_F16;
        case DType::bf16: return LATENT_CUDA_BF16;
        case DType::q8_0: return LATENT_CUDA_Q8_0;
        case DType::q4_0: return LATENT_CUDA_Q4_0;
        case DType::q4_k: return LATENT_CUDA_Q4_K;
        default: return std::nullopt;
    }
}

/// Small tables (positions, classes, codebooks) are declared as biases but looked up by row.
latent_cuda_role role_of(const Parameter & parameter) {
    if (parameter.role == Role::embedding) return LATENT_CUDA_EMBEDDING;
    if (parameter.is_matrix()) return LATENT_CUDA_MATRIX;
    return parameter.shape.size() > 1 ? LATENT_CUDA_EMBEDDING : LATENT_CUDA_VECTOR;
}

}  // namespace

CudaResident::CudaResident(std::shared_ptr<CudaDevice> device, const latent_cuda_tensor_desc & desc, DType data)
    : device_(std::move(device)), data_(data) {
    device_->call("Declaring a weight", &latent_cuda_api::tensor_declare, device_->handle(), &desc, &tensor_);
}

CudaResident::~CudaResident() {
    device_->ask(&latent_cuda_api::tensor_free, tensor_);
}

CudaWeights::CudaWeights(const DevicePtr & device) : device_(std::static_pointer_cast<CudaDevice>(device)) {}

DType CudaWeights::resident_type(const Parameter & parameter, DType, DType wanted) const {
    const latent_cuda_role role = role_of(parameter);
    if (role == LATENT_CUDA_VECTOR) return DType::f32;
    const std::optional<latent_cuda_type> type = to_cuda(wanted);
    const bool taken =
        type && device_->ask(&latent_cuda_api::type_supported, static_cast<int32_t>(*type), static_cast<int32_t>(role));
    if (role == LATENT_CUDA_EMBEDDING) return taken ? wanted : DType::f16;
    return taken && dtype_is_quantised(wanted) ? wanted : DType::bf16;
}

uint64_t CudaWeights::bytes(const Parameter & parameter) const {
    return device_->ask(&latent_cuda_api::tensor_bytes, cuda_tensor_of(&parameter));
}

std::unique_ptr<Resident> CudaWeights::declare(const Parameter & parameter, DType stored) {
    latent_cuda_tensor_desc desc{};
    const latent_cuda_role role = role_of(parameter);
    // Plain types are passed as stored in the file, and the device rounds them; all others are converted here.
    const bool plain = stored == DType::f32 || stored == DType::f16 || stored == DType::bf16;
    const bool rounds = role == LATENT_CUDA_VECTOR || (role == LATENT_CUDA_MATRIX && parameter.dtype == DType::bf16);
    const DType data = plain && rounds ? stored : parameter.dtype;
    desc.type = *to_cuda(data), desc.role = role;
    const int64_t side = parameter.role == Role::conv ? parameter.shape.back() : 1;
    desc.out = role == LATENT_CUDA_VECTOR ? parameter.elements() : parameter.rows();
    desc.in = role == LATENT_CUDA_VECTOR ? 1 : parameter.inner() / (side * side);
    desc.kernel = static_cast<int32_t>(side);
    return std::make_unique<CudaResident>(device_, desc, data);
}

void CudaWeights::allocate(const std::vector<Placement> & parameters) {
    std::vector<latent_cuda_tensor *> tensors;
    for (const Placement & placement : parameters)
        tensors.push_back(static_cast<const CudaResident &>(*placement.parameter->resident).tensor());
    device_->call("Loading weights", &latent_cuda_api::tensors_allocate, device_->handle(), tensors.data(),
                  static_cast<int32_t>(tensors.size()));
}

void CudaWeights::load(const Parameter & parameter, DType stored, Span<const uint8_t> data) {
    const CudaResident & resident = static_cast<const CudaResident &>(*parameter.resident);
    std::vector<uint8_t> converted;
    if (resident.data() != stored) {
        const uint64_t blocks = static_cast<uint64_t>(parameter.elements() / dtype_block(resident.data()));
        converted.resize(static_cast<size_t>(blocks * static_cast<uint64_t>(dtype_block_bytes(resident.data()))));
        convert_rows(stored, data.data(), resident.data(), converted.data(), parameter.rows(), parameter.inner(),
                     device_->threads());
        data = converted;
    }
    device_->call("Loading a weight", &latent_cuda_api::tensor_load, resident.tensor(), static_cast<const void *>(data.data()),
                  static_cast<uint64_t>(data.size()));
}

void CudaWeights::read(const Parameter & parameter, Span<float> out) const {
    device_->call("Reading a weight", &latent_cuda_api::tensor_read, cuda_tensor_of(&parameter), out.data(),
                  static_cast<uint64_t>(out.size()));
}

void CudaWeights::unload(const std::vector<const Parameter *> & parameters) {
    for (const Parameter * parameter : parameters) {
        device_->ask(&latent_cuda_api::tensor_unload, static_cast<const CudaResident &>(*parameter->resident).tensor());
    }
    device_->trim();
}

}  // namespace latent::graph
