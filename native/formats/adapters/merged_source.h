#pragma once

#include "core/job.h"
#include "formats/adapters/adapter_file.h"
#include "formats/model_files.h"

namespace latent::formats {

/// A model with adapters merged into its weights, and per file { path, name, matched, unmatched, skipped }. Changed tensors are
/// computed when they are read, one at a time, as float32. Biases that the networks do not have are reported as skipped. Throws
/// io, model_format, unsupported_model as match_adapter().
struct MergedModel {
    OpenedModel model;
    Json adapters = Json::array();
};
MergedModel merge_adapters(OpenedModel model, const AdapterUses & adapters, const JobContext & job);

}  // namespace latent::formats
