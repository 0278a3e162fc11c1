#pragma once

#include <string>
#include <vector>

#include "golden.h"

// Checkpoints as torch.save writes them, for tests: {"state_dict": OrderedDict of tensors} in both of its containers.
namespace torch_writer {

struct Options {
    bool legacy = false;  // five pickles and raw storages, as before torch 1.6; else a zip archive
    /// Tensors that lie in another one's storage: (name, name of the one that owns it).
    std::vector<std::pair<std::string, std::string>> shared;
};

/// Contiguous float32, float16, int64 and int32 tensors.
void write(const std::string & path, const std::vector<golden::FileTensor> & tensors, const Options & options = {});

}  // namespace torch_writer
