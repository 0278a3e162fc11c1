#include "core/path.h"

#include <algorithm>
#include <system_error>

#include "core/input_file.h"

namespace latent {

namespace fs = std::filesystem;

namespace {

#ifdef _WIN32
// The classic limit is 260 characters less the terminator and room for a short name; beyond it only \\?\ paths work.
fs::path with_long_prefix(const fs::path & path) {
    constexpr size_t classic_limit = 240;
    const std::wstring & text = path.native();
    if (text.compare(0, 4, L"\\\\?\\") == 0 || text.compare(0, 4, L"\\\\.\\") == 0) return path;
    std::error_code failed;
    const fs::path absolute = fs::absolute(path, failed);
    if (failed || absolute.native().size() < classic_limit) return path;
    std::wstring full = absolute.lexically_normal().make_preferred().native();
    if (full.compare(0, 2, L"\\\\") == 0) return L"\\\\?\\UNC\\" + full.substr(2);
    return L"\\\\?\\" + full;
}
#endif

}  // namespace

fs::path to_path(const std::string & utf8) {
    if (utf8.find('\0') != std::string::npos) throw Error(ErrorCode::io, "A path contains a NUL character");
    try {
#ifdef _WIN32
        return with_long_prefix(fs::u8path(utf8));
#else
        return fs::path(utf8);
#endif
    } catch (const Error &) {
        throw;
    } catch (const std::exception &) {
        throw Error(ErrorCode::io, "A path is not valid UTF-8: \"" + utf8 + "\"");
    }
}

std::string to_utf8(const fs::path & path) {
    return path.u8string();
}

PathKind path_kind(const std::string & utf8) {
    std::error_code failed;
    const fs::file_status status = fs::status(to_path(utf8), failed);
    if (failed || !fs::exists(status)) return PathKind::missing;
    if (fs::is_directory(status)) return PathKind::folder;
    return fs::is_regular_file(status) ? PathKind::file : PathKind::other;
}

std::string join_path(const std::string & folder, const std::string & name) {
    if (folder.empty()) return name;
    const char last = folder.back();
#ifdef _WIN32
    const bool closed = last == '/' || last == '\\';
#else
    const bool closed = last == '/';
#endif
    return closed ? folder + name : folder + '/' + name;
}

std::string parent_folder(const std::string & utf8) {
    const std::string parent = to_utf8(fs::u8path(utf8).parent_path());
    return parent.empty() ? "." : parent;
}

std::string file_name(const std::string & utf8) {
    const fs::path path = fs::u8path(utf8);
    const fs::path last = path.filename();
    return to_utf8(last.empty() ? path.parent_path().filename() : last);
}

bool is_plain_file_name(const std::string & name) {
    if (name.empty() || name.size() > 255 || name == "." || name == "..") return false;
    return std::none_of(name.begin(), name.end(), [](char c) {
        return c == '/' || c == '\\' || c == ':' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    });
}

std::vector<std::string> list_folder(const std::string & utf8) {
    std::error_code failed;
    std::vector<std::string> names;
    fs::directory_iterator entry(to_path(utf8), failed);
    for (; !failed && entry != fs::directory_iterator(); entry.increment(failed)) {
        try {
            names.push_back(to_utf8(entry->path().filename()));
        } catch (const std::exception &) {
            continue;  // a name that is not valid Unicode (lone surrogates) cannot be one that we look for
        }
    }
    if (failed) throw Error(ErrorCode::io, "Cannot list the folder \"" + utf8 + "\": " + failed.message());
    std::sort(names.begin(), names.end());
    return names;
}

std::string read_text_file(const std::string & utf8, uint64_t max_bytes) {
    const InputFile file(utf8, max_bytes);
    std::string text(static_cast<size_t>(file.size()), '\0');
    file.read(0, &text[0], text.size());
    return text;
}

}  // namespace latent
