#include <algorithm>

#include "core/path.h"
#include "formats/open.h"

namespace latent::formats {

namespace {

bool holds(const std::vector<std::string> & names, const std::string & name) {
    return std::binary_search(names.begin(), names.end(), name);
}

/// File names of one stem and container, plain or of a variant, whole or sharded, as diffusers and transformers write them.
std::vector<std::string> spellings(const std::string & stem, const std::string & extension, const std::string & variant) {
    if (variant.empty()) return {stem + extension, stem + extension + ".index.json"};
    return {stem + "." + variant + extension, stem + extension + ".index." + variant + ".json",
            stem + "." + variant + extension + ".index.json"};
}

std::string find_spelling(const std::vector<std::string> & names, const std::string & variant) {
    for (const char * extension : {".safetensors", ".bin"}) {
        for (const char * stem : {"diffusion_pytorch_model", "model", "pytorch_model"}) {
            for (const std::string & name : spellings(stem, extension, variant)) {
                if (holds(names, name)) return name;
            }
        }
    }
    return "";
}

}  // namespace

std::string find_weights_file(const std::string & folder_utf8, const std::string & variant) {
    const std::vector<std::string> names = list_folder(folder_utf8);
    std::string found = variant.empty() ? "" : find_spelling(names, variant);
    if (found.empty()) found = find_spelling(names, "");
    if (found.empty()) found = find_spelling(names, "fp16");
    return found.empty() ? "" : join_path(folder_utf8, found);
}

}  // namespace latent::formats
