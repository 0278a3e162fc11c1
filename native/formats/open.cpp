#include "formats/open.h"

#include <algorithm>

#include "core/json.h"
#include "core/mapped_file.h"
#include "core/path.h"
#include "formats/bytes.h"
#include "formats/safetensors.h"

namespace latent::formats {

namespace {

std::string_view start_of(const MappedFilePtr & file, size_t count) {
    const size_t size = static_cast<size_t>(std::min<uint64_t>(file->size(), count));
    return {reinterpret_cast<const char *>(file->data()), size};
}

bool starts_with(std::string_view text, std::string_view prefix) {
    return text.substr(0, prefix.size()) == prefix;
}

std::string_view without_leading_space(std::string_view text) {
    const size_t at = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
    return at == std::string_view::npos ? std::string_view() : text.substr(at);
}

std::string lower_case(std::string_view text) {
    std::string result(text);
    for (char & c : result) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return result;
}

/// Things that people really have in place of the model they wanted.
void reject_stand_ins(const MappedFilePtr & file) {
    const std::string name = file_name(file->path());
    const std::string_view start = start_of(file, 256);
    if (starts_with(start, "version https://git-lfs")) {
        broken(name, "is a git-lfs pointer, not the model itself; run \"git lfs pull\" or download the real file",
               R"({"reason":"git_lfs_pointer"})");
    }
    const std::string text = lower_case(without_leading_space(start));
    if (starts_with(text, "<!doctype") || starts_with(text, "<html") || starts_with(text, "<head") ||
        starts_with(text, "<?xml")) {
        broken(name, "is a web page, not a model; the download probably needs a login or a different link",
               R"({"reason":"web_page"})");
    }
}

TensorSourcePtr open_file(const std::string & path) {
    const auto file = std::make_shared<const MappedFile>(path);
    if (looks_like_safetensors(file->bytes())) return open_safetensors(file);
    reject_stand_ins(file);
    const std::string name = lower_case(file_name(path));
    const std::string extension = ".safetensors";
    if (name.size() > extension.size() && name.compare(name.size() - extension.size(), extension.size(), extension) == 0) {
        return open_safetensors(file);  // says what is wrong with it
    }
    broken(file_name(path), "is not a model file of a known kind (safetensors, GGUF, torch checkpoint, index.json)");
}

}  // namespace

TensorSourcePtr open_model_file(const std::string & path_utf8, const OpenOptions &) {
    return open_file(path_utf8);
}

}  // namespace latent::formats
