#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/job.h"
#include "core/json.h"
#include "formats/model_files.h"

namespace latent::formats {

struct ConvertOptions {
    DType type = DType::f16;  // f32 f16 bf16 q8_0 q6_k q5_k q5_0 q4_k q4_0, of matrices and convolutions
    std::vector<std::pair<std::string, DType>>
        overrides;                                // pattern over canonical names ("*" any text, "?" any character) to type
    std::map<std::string, std::string> metadata;  // texts to store, e.g. general.license
    std::string tokenizer;                        // stored unchanged and returned by open_model; default: the source's
    int threads = 0;                              // 0: all usable cores; does not affect the result
    bool part_defaults = true;                    // block types: first stage f16, text encoder q8_0 at the least (core/parts.h)
};

struct ConvertReport {
    int64_t tensors = 0;
    uint64_t bytes = 0;         // of the file
    uint64_t source_bytes = 0;  // size of the weights that were read
    std::map<std::string, int64_t> tensors_by_type;

    Json to_json() const;
};

/// "q8_0" -> DType. Throws invalid_argument for types that cannot be written.
DType weight_type_from_name(const std::string & name);

/// The type to store a tensor in: f32 for vectors, core/weight_type.h decides for matrices. An override takes precedence for its
/// tensors, within the same limits of rows and blocks.
DType convert_type(const networks::DeclaredTensor & declared, const TensorInfo & tensor, const ConvertOptions & options);

/// Writes the model as one GGUF version 3 file: canonical names, the spec ("latent.spec"), the tokenizer ("latent.tokenizer"),
/// metadata. Convolutions that are quantised are stored as matrices [OC, IC*KH*KW], with their shapes in "latent.shapes" (a JSON
/// text), since a block must lie inside one row. Reads, converts and writes one tensor at a time. The file appears only when it
/// is complete. A tensor with values beyond the range of f16 stays f32. Progress: Phase::convert in bytes read. Errors: io,
/// aborted, model_format.
ConvertReport convert(const OpenedModel & model, const std::string & destination_utf8, const ConvertOptions & options,
                      const JobContext & job);

}  // namespace latent::formats
