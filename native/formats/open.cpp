#include "formats/open.h"

#include <algorithm>

#include "core/json.h"
#include "core/mapped_file.h"
#include "core/path.h"
#include "formats/containers/bytes.h"
#include "formats/containers/gguf_reader.h"
#include "formats/containers/safetensors.h"
#include "formats/containers/sharded.h"
#include "formats/containers/torch_checkpoint.h"
#include "formats/containers/zip_archive.h"

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

/// Files that users often have instead of the model.
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

bool has_extension(const std::string & name, std::string_view extension) {
    return name.size() > extension.size() && name.compare(name.size() - extension.size(), extension.size(), extension) == 0;
}

/// The checkpoint inside an ordinary zip file (as the LDM paper's releases): model.ckpt, otherwise the largest model file.
const ZipEntry * find_inner_model(const ZipArchive & archive) {
    const ZipEntry * best = nullptr;
    for (const ZipEntry & entry : archive.entries()) {
        const std::string name(entry.name);
        const size_t slash = name.rfind('/');
        const std::string file = lower_case(slash == std::string::npos ? name : name.substr(slash + 1));
        const bool model = has_extension(file, ".ckpt") || has_extension(file, ".safetensors") || has_extension(file, ".gguf") ||
                           has_extension(file, ".pth") || has_extension(file, ".pt") || has_extension(file, ".bin");
        const bool resource_fork = file.compare(0, 2, "._") == 0;
        if (!model || resource_fork) continue;
        if (file == "model.ckpt") return &entry;
        if (!best || entry.size > best->size) best = &entry;
    }
    return best;
}

TensorSourcePtr open_zip(const MappedFilePtr & file) {
    const ZipArchive archive(file);
    if (!find_torch_pickle(archive).empty()) return open_torch_zip(file, archive);
    const std::string name = file_name(file->path());
    const ZipEntry * inner = find_inner_model(archive);
    if (!inner) broken(name, "is a zip archive without a model in it");
    const Json details = {{"reason", "outer_zip"}, {"inner", std::string(inner->name)}};
    broken(name, "is a zip archive that contains \"" + shown(inner->name) + "\"; unpack it first",
           details.dump(-1, ' ', false, Json::error_handler_t::replace));
}

/// `path` is a file. An index may not name another index, so shards are opened with `index_allowed` off.
TensorSourcePtr open_file(const std::string & path, bool index_allowed) {
    const auto file = std::make_shared<const MappedFile>(path);
    const Span<const uint8_t> bytes = file->bytes();
    if (looks_like_gguf(bytes)) return open_gguf(file);
    if (looks_like_zip(bytes)) return open_zip(file);
    if (looks_like_safetensors(bytes)) return open_safetensors(file);
    if (looks_like_pickle(bytes)) return open_torch_legacy(file);
    reject_stand_ins(file);
    const std::string name = file_name(path);
    if (starts_with(without_leading_space(start_of(file, 256)), "{")) {
        if (!index_allowed) broken(name, "is a JSON file, but a shard with weights is expected");
        return open_sharded(file, [](const std::string & shard) { return open_file(shard, false); });
    }
    if (has_extension(lower_case(name), ".safetensors")) return open_safetensors(file);  // explains what is wrong with it
    broken(name, "is not a model file of a known kind (safetensors, GGUF, torch checkpoint, index.json)");
}

std::string weights_of_folder(const std::string & folder, const std::string & variant) {
    const std::string found = find_weights_file(folder, variant);
    if (!found.empty()) return found;
    const bool pipeline = path_kind(join_path(folder, "model_index.json")) == PathKind::file;
    throw Error(ErrorCode::model_format,
                "The folder \"" + folder + "\" contains no weights: " +
                    (pipeline ? "it is a diffusers pipeline, whose weights are in its subfolders"
                              : "there is no diffusion_pytorch_model, model or pytorch_model file (.safetensors or .bin) in it"),
                R"({"reason":"no_weights"})");
}

}  // namespace

TensorSourcePtr open_model_file(const std::string & path_utf8, const std::string & variant) {
    const bool folder = path_kind(path_utf8) == PathKind::folder;
    return open_file(folder ? weights_of_folder(path_utf8, variant) : path_utf8, true);
}

}  // namespace latent::formats
