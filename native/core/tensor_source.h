#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/mapped_file.h"
#include "core/span.h"

namespace latent {

/// Element types in files. The block types (of 32 elements and more) are ggml's, with the same memory layout.
enum class DType {
    f32,
    f16,
    bf16,
    f64,
    f8_e4m3,
    f8_e5m2,
    i64,
    i32,
    i16,
    i8,
    u8,
    boolean,
    q4_0,
    q4_1,
    q5_0,
    q5_1,
    q8_0,
    q2_k,
    q3_k,
    q4_k,
    q5_k,
    q6_k,
    // Can be read, but weights are not kept in these.
    u16,
    u32,
    u64,
    f8_e8m0,  // a power of two: the scale of a block in another tensor
    f4_e2m1,  // two to a byte, the first in the lower bits
    iq1_s,
    iq1_m,
    iq2_xxs,
    iq2_xs,
    iq2_s,
    iq3_xxs,
    iq3_s,
    iq4_nl,
    iq4_xs,
    tq1_0,
    tq2_0,
    q1_0,
    mxfp4,
    nvfp4,
    // Passed through, but cannot be read.
    c64,
    c128,
    opaque,  // an unknown type, see TensorInfo::stored_as
};

const char * dtype_name(DType type);
/// Elements per block: 1 for plain types, 32 or 256 for the block types.
int64_t dtype_block(DType type);
/// Bytes per block.
int64_t dtype_block_bytes(DType type);
/// One of ggml's block types.
bool dtype_is_quantised(DType type);
/// Whether the elements can be read as numbers.
bool dtype_is_readable(DType type);
/// The number of the type in GGUF files (enum ggml_type), -1 if it has none.
int dtype_ggml_number(DType type);
/// False if the number is unknown.
bool dtype_from_ggml_number(int64_t number, DType & type);

/// One tensor as a file (or a mapping over files) declares it.
struct TensorInfo {
    std::string name;
    DType dtype = DType::f32;
    std::vector<int64_t> shape;  // outermost first, as torch prints it; {} is a scalar
    uint64_t bytes = 0;          // of the contiguous tensor in `dtype`
    size_t index = 0;            // position in TensorSource::tensors()
    std::string stored_as;       // of an opaque tensor: the type as named by the file
    /// Set if values are computed while reading: the file has values of this type and a scale for them (scaled fp8).
    std::optional<DType> scaled_from;

    int64_t elements() const;
    std::string type_name() const;
    /// Type and bytes in the file.
    DType stored_type() const { return scaled_from.value_or(dtype); }
    uint64_t stored_bytes() const;
};

/// A source of weights: a file, a folder, or a view of these with other names. Listing reads only headers. Everything that a
/// source reports has been checked against the size of its file. Reads are thread-safe.
class TensorSource {
public:
    virtual ~TensorSource() = default;

    const std::vector<TensorInfo> & tensors() const { return tensors_; }
    const TensorInfo * find(std::string_view name) const;
    bool has(std::string_view name) const { return find(name) != nullptr; }

    /// The tensor's bytes inside the mapped file, or an empty span if it is not stored contiguously in its own dtype
    /// and byte order. No alignment is guaranteed.
    virtual Span<const uint8_t> view(const TensorInfo & tensor) const = 0;

    /// Copies the contiguous tensor (row-major, own dtype) to `destination`, which holds `tensor.bytes`.
    virtual void read(const TensorInfo & tensor, void * destination) const = 0;

    /// Reads a plain (not quantised) tensor as float32. Throws model_format for block types.
    std::vector<float> read_f32(const TensorInfo & tensor) const;

    /// Tells the system that these pages will not be needed again soon (after packing a weight).
    void release(const TensorInfo & tensor) const { advise(tensor, PageHint::release); }
    /// Hints about the pages of a tensor in mapped files.
    virtual void advise(const TensorInfo & tensor, PageHint hint) const;

    /// Where a tensor, or what it is computed from, lies in mapped files; empty for other sources.
    virtual std::vector<FileRange> places(const TensorInfo &) const { return {}; }

    /// Throws io if a file has become shorter since it was opened, or part of it could not be read, so that zeros may have been
    /// read. To be called before and after using weights.
    virtual void check_files() const {}

    /// Free-form file metadata as a JSON object (safetensors `__metadata__`, GGUF key-values).
    virtual std::string metadata_json() const { return "{}"; }

    /// Name for messages: a file or folder name.
    const std::string & name() const { return name_; }

protected:
    /// Sets indices and the name index; throws model_format on a duplicate name.
    void set_tensors(std::vector<TensorInfo> tensors);
    std::string name_;

private:
    std::vector<TensorInfo> tensors_;
    std::unordered_map<std::string_view, size_t> by_name_;
};

using TensorSourcePtr = std::shared_ptr<const TensorSource>;

/// Converts `count` plain elements to float32. Throws for block types.
void convert_to_f32(DType type, const void * source, float * destination, int64_t count);

float half_to_float(uint16_t bits);
uint16_t float_to_half(float value);
float bfloat_to_float(uint16_t bits);
uint16_t float_to_bfloat(float value);

}  // namespace latent
