#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"

namespace latent {

// Paths are UTF-8 std::strings everywhere in this library; only this file and core/input_file convert them to the operating
// system's form (wide strings with the long-path prefix on Windows).

/// For std::filesystem and std::fstream calls.
std::filesystem::path to_path(const std::string & utf8);
std::string to_utf8(const std::filesystem::path & path);

enum class PathKind { missing, file, folder, other };
/// Follows symbolic links. A path that cannot be accessed counts as missing.
PathKind path_kind(const std::string & utf8);

std::string join_path(const std::string & folder, const std::string & name);
std::string parent_folder(const std::string & utf8);  // "." if there is none
std::string file_name(const std::string & utf8);

/// True for a plain path component: not empty, "." or "..", and without separators, colons and control characters.
bool is_plain_file_name(const std::string & name);

/// Names of a folder's entries, sorted. Throws io.
std::vector<std::string> list_folder(const std::string & utf8);

/// A whole small file (configuration, index, vocabulary). Throws io if it is missing or not a file, model_format if it is
/// larger than `max_bytes`.
std::string read_text_file(const std::string & utf8, uint64_t max_bytes = uint64_t{16} << 20);

}  // namespace latent
