#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/mapped_file.h"

namespace latent::formats {

struct ZipEntry {
    std::string_view name;  // inside the mapping, as stored
    uint16_t method = 0;    // 0: stored
    uint16_t flags = 0;
    uint64_t compressed = 0, size = 0;
    uint64_t local_header = 0;
};

/// The directory of a zip file (zip64 included). Nothing is extracted: stored entries are ranges of the mapping.
class ZipArchive {
public:
    /// Throws model_format if the central directory is missing, damaged or inconsistent.
    explicit ZipArchive(const MappedFilePtr & file);

    const std::vector<ZipEntry> & entries() const { return entries_; }
    const ZipEntry * find(std::string_view name) const;

    /// Offset of a stored entry's first byte, from its own local header (whose extra field may differ from the central one).
    /// Throws model_format for compressed or encrypted entries and for ranges outside the file.
    uint64_t data_offset(const ZipEntry & entry) const;
    Span<const uint8_t> data(const ZipEntry & entry) const;

private:
    struct Directory {
        uint64_t offset = 0, size = 0, count = 0;
        uint64_t end = 0;  // where the end record begins; the directory lies before it
    };
    Directory find_directory() const;
    void read_zip64(uint64_t locator, Directory & directory) const;
    ZipEntry read_entry(uint64_t & position, uint64_t end) const;
    void read_zip64_extra(ZipEntry & entry, uint64_t position, uint64_t end) const;

    MappedFilePtr file_;
    std::string name_;
    std::vector<ZipEntry> entries_;
    std::unordered_map<std::string_view, size_t> by_name_;
};

bool looks_like_zip(Span<const uint8_t> bytes);

}  // namespace latent::formats
