#pragma once

#include "core/mapped_file.h"
#include "core/tensor_source.h"

namespace latent::formats {

/// Opens a GGUF file, version 2 or 3, little-endian. Shapes are in torch order (outermost first), the reverse of the file's.
/// metadata_json() has every key-value pair: scalars, strings, and arrays of at most 2^18 elements and 16 MB (longer arrays and
/// large nested arrays are left out). Throws model_format. Written for hostile files; ggml's own reader is not used.
TensorSourcePtr open_gguf(const MappedFilePtr & file);

bool looks_like_gguf(Span<const uint8_t> bytes);

}  // namespace latent::formats
