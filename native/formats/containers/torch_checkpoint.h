#pragma once

#include "core/mapped_file.h"
#include "core/tensor_source.h"
#include "formats/containers/zip_archive.h"

namespace latent::formats {

/// Name of the pickle inside a torch archive ("<root>/data.pkl"), empty if the zip file is not one.
std::string_view find_torch_pickle(const ZipArchive & archive);

/// Opens a checkpoint of torch 1.6 or later: a zip archive with <root>/data.pkl and one stored entry <root>/data/<key> per
/// storage. Tensors keep their storages: shared, offset, strided and expanded ones are honoured by read(); view() gives
/// contiguous ones.
TensorSourcePtr open_torch_zip(const MappedFilePtr & file, const ZipArchive & archive);

/// Opens the format from before torch 1.6: five pickles (magic number, protocol, system, object, keys), then the raw storages.
TensorSourcePtr open_torch_legacy(const MappedFilePtr & file);

/// Whether the file begins like a binary pickle.
bool looks_like_pickle(Span<const uint8_t> bytes);

}  // namespace latent::formats
