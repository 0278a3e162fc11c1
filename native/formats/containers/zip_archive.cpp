#include "formats/containers/zip_archive.h"

#include <algorithm>

#include "core/path.h"
#include "formats/containers/bytes.h"

namespace latent::formats {

namespace {

// APPNOTE.TXT (PKWARE): signatures and sizes of the fixed parts of the records.
constexpr uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50, end_signature = 0x06054b50;
constexpr uint32_t zip64_end_signature = 0x06064b50, zip64_locator_signature = 0x07064b50;
constexpr uint64_t local_bytes = 30, central_bytes = 46, end_bytes = 22, zip64_end_bytes = 56, zip64_locator_bytes = 20;
constexpr uint32_t in_zip64 = 0xffffffff;

}  // namespace

bool looks_like_zip(Span<const uint8_t> bytes) {
    if (bytes.size() < 4) return false;
    const uint32_t signature = load_u32(bytes.data());
    return signature == local_signature || signature == end_signature;
}

ZipArchive::ZipArchive(const MappedFilePtr & file) : file_(file), name_(file_name(file->path())) {
    const Directory directory = find_directory();
    if (directory.offset > directory.end || directory.size > directory.end - directory.offset) {
        broken(name_, "the directory of the zip archive lies outside the file");
    }
    if (directory.count > directory.size / central_bytes) {
        broken(name_, "the zip archive claims " + std::to_string(directory.count) + " entries, more than its directory holds");
    }
    if (directory.count > most_tensors) {
        broken(name_, "the zip archive has more than " + std::to_string(most_tensors) + " entries");
    }
    uint64_t position = directory.offset;
    for (uint64_t i = 0; i < directory.count; ++i) {
        entries_.push_back(read_entry(position, directory.offset + directory.size));
        if (!by_name_.emplace(entries_.back().name, entries_.size() - 1).second) {
            broken(name_, "the zip archive has two entries \"" + shown(entries_.back().name) + "\"");
        }
    }
}

const ZipEntry * ZipArchive::find(std::string_view name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : &entries_[found->second];
}

ZipArchive::Directory ZipArchive::find_directory() const {
    const uint8_t * data = file_->data();
    const uint64_t size = file_->size(), comment_limit = 65535;
    const uint64_t first = size > end_bytes + comment_limit ? size - end_bytes - comment_limit : 0;
    for (uint64_t at = size >= end_bytes ? size - end_bytes + 1 : 0; at-- > first;) {
        if (load_u32(data + at) != end_signature || load_u16(data + at + 20) != size - at - end_bytes) continue;
        Directory directory;
        directory.count = load_u16(data + at + 10);
        directory.size = load_u32(data + at + 12);
        directory.offset = load_u32(data + at + 16);
        directory.end = at;
        const bool zip64 = at >= zip64_locator_bytes && load_u32(data + at - zip64_locator_bytes) == zip64_locator_signature;
        if (zip64) read_zip64(at - zip64_locator_bytes, directory);
        return directory;
    }
    broken(name_, "is a zip archive without its directory; the download was probably cut off");
}

void ZipArchive::read_zip64(uint64_t locator, Directory & directory) const {
    const uint64_t at = load_u64(file_->data() + locator + 8);
    if (at > locator || locator - at < zip64_end_bytes || load_u32(file_->data() + at) != zip64_end_signature) {
        broken(name_, "the zip archive's 64-bit end record is damaged");
    }
    directory.count = load_u64(file_->data() + at + 32);
    directory.size = load_u64(file_->data() + at + 40);
    directory.offset = load_u64(file_->data() + at + 48);
    directory.end = at;
}

ZipEntry ZipArchive::read_entry(uint64_t & position, uint64_t end) const {
    const uint8_t * record = file_->data() + position;
    if (end - position < central_bytes || load_u32(record) != central_signature) {
        broken(name_, "the directory of the zip archive is damaged");
    }
    const uint64_t name = load_u16(record + 28), extra = load_u16(record + 30), comment = load_u16(record + 32);
    if (end - position - central_bytes < name + extra + comment) broken(name_, "the directory of the zip archive is damaged");
    ZipEntry entry;
    entry.flags = load_u16(record + 8);
    entry.method = load_u16(record + 10);
    entry.compressed = load_u32(record + 20);
    entry.size = load_u32(record + 24);
    entry.local_header = load_u32(record + 42);
    entry.name = {reinterpret_cast<const char *>(record + central_bytes), static_cast<size_t>(name)};
    read_zip64_extra(entry, position + central_bytes + name, position + central_bytes + name + extra);
    position += central_bytes + name + extra + comment;
    return entry;
}

void ZipArchive::read_zip64_extra(ZipEntry & entry, uint64_t position, uint64_t end) const {
    const uint8_t * data = file_->data();
    while (end - position >= 4) {
        const uint16_t id = load_u16(data + position);
        const uint64_t size = load_u16(data + position + 2);
        position += 4;
        if (size > end - position) return;  // padding, not a list of fields
        if (id == 1) {
            // Contains only the fields that did not fit into 32 bits, in this order.
            uint64_t at = position;
            for (uint64_t * field : {&entry.size, &entry.compressed, &entry.local_header}) {
                if (*field != in_zip64) continue;
                if (position + size - at < 8) broken(name_, "the 64-bit sizes of \"" + shown(entry.name) + "\" are missing");
                *field = load_u64(data + at);
                at += 8;
            }
        }
        position += size;
    }
}

uint64_t ZipArchive::data_offset(const ZipEntry & entry) const {
    const std::string what = "the entry \"" + shown(entry.name) + "\" of the zip archive ";
    if (entry.flags & 1) broken(name_, what + "is encrypted");
    if (entry.method != 0 || entry.compressed != entry.size) {
        broken(name_,
               what +
                   "is compressed, which torch never does: it was repacked by another tool. Unpack it and pack it again "
                   "without compression (zip -0), or save the model as safetensors",
               R"({"reason":"compressed_entries"})");
    }
    if (!file_->contains(entry.local_header, local_bytes)) broken(name_, what + "begins beyond the end of the file");
    const uint8_t * header = file_->data() + entry.local_header;
    if (load_u32(header) != local_signature) broken(name_, what + "has no header where the directory says it is");
    const uint64_t offset = entry.local_header + local_bytes + load_u16(header + 26) + load_u16(header + 28);
    if (!file_->contains(offset, entry.size)) broken(name_, what + "ends beyond the end of the file");
    return offset;
}

Span<const uint8_t> ZipArchive::data(const ZipEntry & entry) const {
    return {file_->data() + data_offset(entry), static_cast<size_t>(entry.size)};
}

}  // namespace latent::formats
