#include <algorithm>
#include <set>

#include "core/json.h"
#include "core/path.h"
#include "formats/open.h"

namespace latent::formats {

namespace {

std::string joined(const std::vector<std::string> & words) {
    std::string text;
    for (const std::string & word : words) text += (text.empty() ? "" : ", ") + word;
    return text;
}

bool holds(const std::vector<std::string> & names, const std::string & name) {
    return std::binary_search(names.begin(), names.end(), name);
}

/// File names for a stem and container as diffusers and transformers write them: plain or of a variant, whole or sharded.
std::vector<std::string> spellings(const std::string & stem, const std::string & extension, const std::string & variant) {
    if (variant.empty()) return {stem + extension, stem + extension + ".index.json"};
    return {stem + "." + variant + extension, stem + extension + ".index." + variant + ".json",
            stem + "." + variant + extension + ".index.json"};
}

constexpr const char * stems[] = {"diffusion_pytorch_model", "model", "pytorch_model"};
constexpr const char * extensions[] = {".safetensors", ".bin"};

std::string find_spelling(const std::vector<std::string> & names, const std::string & variant) {
    for (const char * extension : extensions) {
        for (const char * stem : stems) {
            for (const std::string & name : spellings(stem, extension, variant)) {
                if (holds(names, name)) return name;
            }
        }
    }
    return "";
}

/// "fp16" of "model.fp16.safetensors"; empty for any other form of name, including the parts of a sharded variant.
std::string variant_of(const std::string & name) {
    for (const char * stem : stems) {
        for (const char * extension : extensions) {
            const std::string begin = std::string(stem) + '.', index = stem + std::string(extension) + ".index.";
            std::string rest;
            for (const auto & form :
                 {std::make_pair(index, std::string(".json")), std::make_pair(begin, extension + std::string(".index.json")),
                  std::make_pair(begin, std::string(extension))}) {
                const bool fits = name.size() > form.first.size() + form.second.size() &&
                                  name.compare(0, form.first.size(), form.first) == 0 &&
                                  name.compare(name.size() - form.second.size(), form.second.size(), form.second) == 0;
                if (!fits) continue;
                rest = name.substr(form.first.size(), name.size() - form.first.size() - form.second.size());
                break;
            }
            if (rest.find("-of-") == std::string::npos && is_variant_name(rest)) return rest;
        }
    }
    return "";
}

}  // namespace

bool is_variant_name(const std::string & name) {
    return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    });
}

std::vector<std::string> weight_variants(const std::string & folder_utf8) {
    std::set<std::string> variants;
    for (const std::string & name : list_folder(folder_utf8)) {
        const std::string variant = variant_of(name);
        if (!variant.empty()) variants.insert(variant);
    }
    return {variants.begin(), variants.end()};
}

std::string find_weights_file(const std::string & folder_utf8, const std::string & variant) {
    const std::vector<std::string> names = list_folder(folder_utf8);
    std::string found = variant.empty() ? "" : find_spelling(names, variant);
    for (const char * usual : {"", "fp16", "bf16"}) {
        if (found.empty()) found = find_spelling(names, usual);
    }
    if (found.empty()) {
        const std::vector<std::string> variants = weight_variants(folder_utf8);
        if (variants.size() == 1) found = find_spelling(names, variants[0]);
        if (variants.size() > 1) {
            const Json details = {{"reason", "variant"}, {"folder", folder_utf8}, {"variants", variants}};
            throw Error(ErrorCode::model_format,
                        "The folder \"" + folder_utf8 +
                            "\" contains several variants of the weights and no default one; choose with the option variant: " +
                            joined(variants),
                        details.dump(-1, ' ', false, Json::error_handler_t::replace));
        }
    }
    return found.empty() ? "" : join_path(folder_utf8, found);
}

}  // namespace latent::formats
