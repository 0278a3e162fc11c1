#include "cuda/tensor.h"

#include <cstring>
#include <utility>

#include "cuda/pack.h"

namespace latent::cuda {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 40;
constexpr int kMostKernel = 32;

bool is_float(int type) {
    return type == LATENT_CUDA_F32 || type == LATENT_CUDA_F16 || type == LATENT_CUDA_BF16;
}

std::string shape_of(const latent_cuda_tensor_desc & d) {
    return std::to_string(d.out) + " x " + std::to_string(d.in) + " x " + std::to_string(d.kernel) + " x " +
           std::to_string(d.kernel);
}

}  // namespace

bool type_supported(int type, int role) {
    if (role == LATENT_CUDA_MATRIX) return type >= LATENT_CUDA_F32 && type <= LATENT_CUDA_Q4_K;
    return (role == LATENT_CUDA_VECTOR || role == LATENT_CUDA_EMBEDDING) && is_float(type);
}

Tensor::Tensor(Device & device, const latent_cuda_tensor_desc & desc) : device_(device), desc_(desc) {
    if (!type_supported(desc.type, desc.role)) {
        throw Failure(LATENT_CUDA_UNSUPPORTED, "No kernel reads type " + std::to_string(desc.type) + " in role " +
                                                   std::to_string(desc.role) + ": convert it to BF16");
    }
    const int64_t most = INT32_MAX / 2, most_in = most / (kMostKernel * kMostKernel) - 7;  // bytes of a padded row fit an int
    const bool square = desc.role == LATENT_CUDA_MATRIX ? desc.kernel >= 1 && desc.kernel <= kMostKernel : desc.kernel == 1;
    if (desc.out < 1 || desc.in < 1 || desc.out > most || desc.in > most_in || !square ||
        desc.out * desc.in > kMostElements / (desc.kernel * desc.kernel) || (desc.role == LATENT_CUDA_VECTOR && desc.in != 1)) {
        invalid("A tensor of " + shape_of(desc) + " has an invalid shape");
    }
    const int64_t taps = int64_t{desc.kernel} * desc.kernel, elements = desc.in * taps;
    const uint64_t row = row_bytes(desc.type, elements);
    if (row == 0 || (!is_float(desc.type) && desc.in % 8 != 0)) {
        throw Failure(LATENT_CUDA_UNSUPPORTED, "Blocks of type " + std::to_string(desc.type) + " do not divide rows of " +
                                                   std::to_string(elements) + " elements of " + std::to_string(desc.in) +
                                                   " channels: convert it to BF16");
    }
    file_bytes_ = row * static_cast<uint64_t>(desc.out);
    if (desc.role == LATENT_CUDA_MATRIX) {
        data_bytes_ = packed_bytes(kind(), desc.out, padded_in(), taps);
        scale_bytes_ = scale_bytes(kind(), desc.out, elements);
    } else {
        data_bytes_ = desc.role == LATENT_CUDA_VECTOR ? static_cast<uint64_t>(desc.out + 7) / 8 * 32 : file_bytes_;
    }
}

WeightKind Tensor::kind() const {
    return kind_of_type(desc_.type);
}

WeightView Tensor::view() const {
    const int taps = desc_.kernel * desc_.kernel;
    return {kind(),
            data_,
            scales_,
            static_cast<int>(desc_.out),
            static_cast<int>(padded_in()),
            taps,
            static_cast<int>(desc_.in * taps / 32)};
}

void Tensor::place(std::shared_ptr<const WeightBlock> block, uint64_t offset) {
    unload();
    block_ = std::move(block);
    data_ = block_->data() + offset;
    if (scale_bytes_) scales_ = block_->data() + offset + aligned(data_bytes_);
    ++generation_;
}

void Tensor::load(const void * data, uint64_t bytes) {
    if (bytes != file_bytes_ || !data) {
        invalid("A tensor of " + shape_of(desc_) + " has " + std::to_string(file_bytes_) + " bytes, but " +
                std::to_string(bytes) + " were given");
    }
    device_.enter();
    if (!data_) place(std::make_shared<WeightBlock>(device_, this->bytes()), 0);
    if (desc_.role == LATENT_CUDA_EMBEDDING) {
        device_.upload(data_, data, bytes);
        loaded_ = true;
        return;
    }
    void * source = device_.raw(bytes);
    device_.upload(source, data, bytes);
    const int rows = static_cast<int>(desc_.out), in = static_cast<int>(desc_.in), taps = desc_.kernel * desc_.kernel;
    if (desc_.role == LATENT_CUDA_VECTOR) {
        pack_vector(source, desc_.type, static_cast<float *>(data_), rows, device_.stream());
    } else {
        const PackArgs args{source, desc_.type, rows, in, taps, static_cast<int>(padded_in()), data_, scales_};
        if (device_.half())
            pack_matrix<f16>(args, device_.stream());
        else
            pack_matrix<bf16>(args, device_.stream());
    }
    check(cudaGetLastError(), "Packing weights");
    loaded_ = true;
}

void Tensor::unload() noexcept {
    if (!data_) return;
    data_ = scales_ = nullptr, loaded_ = false;
    block_.reset();
    ++generation_;
}

std::vector<float> Tensor::read() const {
    if (!loaded() || desc_.role == LATENT_CUDA_MATRIX) invalid("Only loaded vectors and embeddings can be read");
    device_.enter();
    auto & device = device_;
    const size_t count = static_cast<size_t>(desc_.out * desc_.in);
    std::vector<float> values(count);
    if (desc_.role == LATENT_CUDA_VECTOR || desc_.type == LATENT_CUDA_F32) {
        device.download(values.data(), data_, count * sizeof(float));
        return values;
    }
    // Converted on the device.
    float * wide = static_cast<float *>(device.raw((count + 7) / 8 * 32));
    pack_vector(data_, desc_.type, wide, static_cast<int>(count), device.stream());
    device.download(values.data(), wide, count * sizeof(float));
    return values;
}

}  // namespace latent::cuda
