#include "formats/tensor_reader.h"

#include "core/error.h"
#include "formats/convert/quantise.h"
#include "formats/open.h"

namespace latent::formats {

namespace {

void check_range(uint64_t offset, uint64_t count, uint64_t size) {
    if (offset <= size && count <= size - offset) return;
    throw Error(ErrorCode::invalid_argument, "The range of " + std::to_string(count) + " from " + std::to_string(offset) +
                                                 " exceeds the tensor's " + std::to_string(size));
}

}  // namespace

TensorReader::TensorReader(const std::string & path_utf8, const std::string & variant) {
    if (!variant.empty() && !is_variant_name(variant)) {
        throw Error(ErrorCode::invalid_argument, "\"" + variant.substr(0, 80) + "\" is not a valid variant name");
    }
    source_ = open_model_file(path_utf8, variant);
    source_->check_files();
}

Json TensorReader::list() const {
    Json tensors = Json::array();
    for (const TensorInfo & tensor : source_->tensors()) {
        tensors.push_back({{"name", tensor.name},
                           {"type", tensor.type_name()},
                           {"shape", tensor.shape},
                           {"bytes", tensor.bytes},
                           {"readable", dtype_is_readable(tensor.dtype)}});
    }
    return {{"tensors", std::move(tensors)}};
}

const TensorInfo & TensorReader::tensor_at(size_t tensor) const {
    if (tensor < source_->tensors().size()) return source_->tensors()[tensor];
    throw Error(ErrorCode::invalid_argument, "There is no tensor with this number");
}

Span<const uint8_t> TensorReader::stored(const TensorInfo & tensor) {
    const Span<const uint8_t> view = source_->view(tensor);
    if (view.size() == tensor.bytes) return view;
    if (copied_ != tensor.index) {
        copied_ = SIZE_MAX;
        copy_.resize(static_cast<size_t>(tensor.bytes));
        source_->read(tensor, copy_.data());
        copied_ = tensor.index;
    }
    return copy_;
}

std::vector<uint8_t> TensorReader::floats(size_t index, uint64_t offset, uint64_t count) {
    const TensorInfo & tensor = tensor_at(index);
    const uint64_t block = static_cast<uint64_t>(dtype_block(tensor.dtype));
    check_range(offset, count, static_cast<uint64_t>(tensor.elements()));
    if (offset % block != 0 || count % block != 0) {
        throw Error(ErrorCode::invalid_argument, std::string("A range of a tensor of type ") + dtype_name(tensor.dtype) +
                                                     " begins and ends at multiples of " + std::to_string(block));
    }
    if (!dtype_is_readable(tensor.dtype)) {
        throw Error(ErrorCode::model_format, source_->name() + ": the tensor \"" + tensor.name + "\" is stored as " +
                                                 tensor.type_name() +
                                                 ", which cannot be read as numbers; read its bytes instead");
    }
    std::vector<uint8_t> out(static_cast<size_t>(count) * sizeof(float));
    if (count == 0) return out;
    source_->check_files();
    const uint8_t * from = stored(tensor).data() + dtype_bytes(tensor.dtype, static_cast<int64_t>(offset));
    dequantise(tensor.dtype, from, reinterpret_cast<float *>(out.data()), static_cast<int64_t>(count));
    source_->check_files();
    return out;
}

std::vector<uint8_t> TensorReader::bytes(size_t index, uint64_t offset, uint64_t count) {
    const TensorInfo & tensor = tensor_at(index);
    check_range(offset, count, tensor.bytes);
    if (count == 0) return {};
    source_->check_files();
    const Span<const uint8_t> part = stored(tensor).subspan(static_cast<size_t>(offset), static_cast<size_t>(count));
    std::vector<uint8_t> out(part.begin(), part.end());
    source_->check_files();
    return out;
}

}  // namespace latent::formats
