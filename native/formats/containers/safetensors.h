#pragma once

#include "core/mapped_file.h"
#include "core/tensor_source.h"

namespace latent::formats {

/// The largest header that is read, as in the reference implementation.
constexpr uint64_t max_safetensors_header = 100u << 20;

/// Opens a safetensors file: u64 header length, JSON header (name -> dtype, shape, data_offsets; `__metadata__`), data.
/// Strict: the ranges must cover the data exactly, without gaps, overlaps or trailing bytes. Throws model_format.
TensorSourcePtr open_safetensors(const MappedFilePtr & file);

/// Whether the first bytes read as a plausible header length and the start of a JSON object.
bool looks_like_safetensors(Span<const uint8_t> bytes);

}  // namespace latent::formats
