#pragma once

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <string_view>

#include "core/path.h"

/// A folder of its own under the system's temporary one, with a name outside of every 8-bit code page; removed at the end.
class TempFolder {
public:
    TempFolder() {
        std::random_device seed;
        const std::string name = "latent-t\xc3\xa9st-\xe6\xa8\xa1\xe5\x9e\x8b-" + std::to_string(seed()) + std::to_string(seed());
        path_ = latent::join_path(latent::to_utf8(std::filesystem::temp_directory_path()), name);
        std::filesystem::create_directories(latent::to_path(path_));
    }
    ~TempFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(latent::to_path(path_), ignored);
    }
    TempFolder(const TempFolder &) = delete;
    TempFolder & operator=(const TempFolder &) = delete;

    const std::string & path() const { return path_; }
    std::string file(const std::string & name) const { return latent::join_path(path_, name); }

    /// Writes a file and returns its path.
    std::string write(const std::string & name, std::string_view content) const {
        const std::string where = file(name);
        std::error_code ignored;  // some file systems flush a file that is truncated and written again
        std::filesystem::remove(latent::to_path(where), ignored);
        std::ofstream out(latent::to_path(where), std::ios::binary | std::ios::trunc);
        out.write(content.data(), static_cast<std::streamsize>(content.size()));
        if (!out.flush()) throw latent::Error(latent::ErrorCode::io, "cannot write " + where);
        return where;
    }
    std::string folder(const std::string & name) const {
        std::filesystem::create_directories(latent::to_path(file(name)));
        return file(name);
    }

private:
    std::string path_;
};
