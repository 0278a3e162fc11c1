#pragma once

#include <string>
#include <vector>

#include "core/tensor_source.h"

namespace latent::formats {

/// Opens weights of any container, told apart by content and never by extension: safetensors, GGUF, torch checkpoints (zip and
/// legacy), an `*.index.json` over shards, or a folder that holds `diffusion_pytorch_model`, `model` or `pytorch_model` files.
/// Reads only headers; tensor data stay in the file until they are read. Tensors have their names in the file, without torch
/// wrappers (`state_dict`, `params_ema`, `params`) and a `module.` prefix.
///
/// `variant`: which file of a folder is taken, e.g. "fp16" for `model.fp16.safetensors`. If empty, or not in the folder: the
/// plain file, else fp16, else bf16, else the only variant.
///
/// Errors: io if the path is missing or unreadable; model_format if the content is broken, unsafe, empty or not a model.
/// An ordinary zip around a checkpoint gives model_format with details {"reason":"outer_zip","inner":"model.ckpt"}.
TensorSourcePtr open_model_file(const std::string & path_utf8, const std::string & variant = "");

/// The weights file (or index) that open_model_file takes from a folder; empty if the folder holds none.
/// Safetensors come before torch files. Throws io if the folder cannot be listed, model_format with details
/// {"reason":"variant", folder, variants} where it holds several variants and `variant` does not say which.
std::string find_weights_file(const std::string & folder_utf8, const std::string & variant = "");

/// Variants of the weights in a folder, not counting the plain file.
std::vector<std::string> weight_variants(const std::string & folder_utf8);
/// Letters, digits, "_" and "-".
bool is_variant_name(const std::string & name);

}  // namespace latent::formats
