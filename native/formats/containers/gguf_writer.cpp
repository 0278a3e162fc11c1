#include "formats/containers/gguf_writer.h"

#include <cerrno>
#include <cstring>
#include <random>
#include <system_error>

#include "core/path.h"

#ifdef _WIN32
#include <io.h>
#else
#include <fcntl.h>
#include <unistd.h>
#endif

namespace latent::formats {

namespace {

void put(std::vector<uint8_t> & out, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

void put_text(std::vector<uint8_t> & out, const std::string & text) {
    put(out, text.size(), 8);
    out.insert(out.end(), text.begin(), text.end());
}

uint64_t ggml_number(DType type) {
    const int number = dtype_ggml_number(type);
    if (number < 0) throw Error(ErrorCode::internal, std::string("GGUF files are not written with ") + dtype_name(type));
    return static_cast<uint64_t>(number);
}

std::FILE * open_for_writing(const std::string & path) {
#ifdef _WIN32
    return _wfopen(to_path(path).c_str(), L"wb");
#else
    return std::fopen(to_path(path).c_str(), "wb");
#endif
}

void flush_folder(const std::string & folder) {
#ifndef _WIN32
    const int handle = ::open(to_path(folder).c_str(), O_RDONLY);  // makes the rename itself durable, where the system can
    if (handle < 0) return;
    ::fsync(handle);
    ::close(handle);
#else
    (void)folder;
#endif
}

}  // namespace

AtomicFile::AtomicFile(const std::string & destination) : destination_(destination) {
    const PathKind folder = path_kind(parent_folder(destination));
    if (folder != PathKind::folder) {
        throw Error(ErrorCode::io, "Cannot write \"" + destination + "\": its folder does not exist");
    }
    const PathKind kind = path_kind(destination);
    if (kind != PathKind::missing && kind != PathKind::file) {
        throw Error(ErrorCode::io, "Cannot write \"" + destination + "\": it is there and is no file");
    }
    std::random_device random;
    temporary_ = destination + '.' + std::to_string(random()) + ".part";
    file_ = open_for_writing(temporary_);
    if (!file_) fail("create");
}

AtomicFile::~AtomicFile() {
    if (temporary_.empty()) return;
    close();
    std::error_code ignored;
    std::filesystem::remove(to_path(temporary_), ignored);
}

void AtomicFile::close() {
    if (file_) std::fclose(file_);
    file_ = nullptr;
}

void AtomicFile::fail(const char * what) const {
    const std::string reason = std::generic_category().message(errno);
    throw Error(ErrorCode::io,
                std::string("Cannot ") + what + " \"" + (temporary_.empty() ? destination_ : temporary_) + "\": " + reason);
}

void AtomicFile::write(const void * data, size_t count) {
    if (count > 0 && std::fwrite(data, 1, count, file_) != count) fail("write");
}

void AtomicFile::seek(uint64_t position) {
#ifdef _WIN32
    if (_fseeki64(file_, static_cast<int64_t>(position), SEEK_SET) != 0) fail("seek in");
#else
    if (fseeko(file_, static_cast<off_t>(position), SEEK_SET) != 0) fail("seek in");
#endif
}

void AtomicFile::commit() {
    bool flushed = std::fflush(file_) == 0;
#ifdef _WIN32
    flushed = flushed && _commit(_fileno(file_)) == 0;
#else
    flushed = flushed && ::fsync(fileno(file_)) == 0;
#endif
    if (!flushed) fail("write");
    std::FILE * file = file_;
    file_ = nullptr;
    if (std::fclose(file) != 0) fail("close");
    std::error_code failed;
    std::filesystem::rename(to_path(temporary_), to_path(destination_), failed);
    if (failed) throw Error(ErrorCode::io, "Cannot rename the finished file to \"" + destination_ + "\": " + failed.message());
    temporary_.clear();
    flush_folder(parent_folder(destination_));
}

uint64_t gguf_padding(uint64_t bytes) {
    return (gguf_alignment - bytes % gguf_alignment) % gguf_alignment;
}

std::vector<uint8_t> gguf_header(const std::vector<GgufValue> & values, const std::vector<GgufTensor> & tensors) {
    std::vector<uint8_t> out = {'G', 'G', 'U', 'F'};
    put(out, 3, 4);
    put(out, tensors.size(), 8);
    put(out, values.size(), 8);
    for (const GgufValue & value : values) {
        put_text(out, value.key);
        put(out, value.is_number ? 4 : 8, 4);  // uint32 | string
        if (value.is_number) {
            put(out, value.number, 4);
        } else {
            put_text(out, value.text);
        }
    }
    uint64_t offset = 0;
    for (const GgufTensor & tensor : tensors) {
        put_text(out, tensor.name);
        const size_t rank = tensor.shape.empty() ? 1 : tensor.shape.size();
        put(out, rank, 4);
        if (tensor.shape.empty()) put(out, 1, 8);
        for (size_t i = tensor.shape.size(); i-- > 0;) put(out, static_cast<uint64_t>(tensor.shape[i]), 8);
        put(out, ggml_number(tensor.dtype), 4);
        put(out, offset, 8);
        offset += tensor.bytes + gguf_padding(tensor.bytes);
    }
    out.resize(out.size() + gguf_padding(out.size()), 0);
    return out;
}

}  // namespace latent::formats
