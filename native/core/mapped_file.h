#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/error.h"
#include "core/span.h"

namespace latent {

/// A whole file, mapped read-only. Thread-safe after opening.
///
/// A file that another process shortens while it is mapped cannot be defended against: touching the lost pages raises SIGBUS
/// (POSIX) or an access violation. Windows forbids the shortening while the mapping lives; elsewhere, replace model files by
/// renaming a new one over them, never in place.
class MappedFile {
public:
    /// Throws io where the path is missing, not a regular file or refused, model_format where the file is empty.
    explicit MappedFile(const std::string & path_utf8);
    ~MappedFile();
    MappedFile(const MappedFile &) = delete;
    MappedFile & operator=(const MappedFile &) = delete;

    const uint8_t * data() const { return data_; }
    uint64_t size() const { return size_; }
    const std::string & path() const { return path_; }

    Span<const uint8_t> bytes() const { return {data_, static_cast<size_t>(size_)}; }
    bool contains(uint64_t offset, uint64_t count) const { return offset <= size_ && count <= size_ - offset; }

    /// Asks for these pages ahead of use. Hints only, as is release.
    void will_need(uint64_t offset, uint64_t count) const;
    /// Lets the system drop these pages: only those wholly inside the range, so that neighbours keep theirs.
    void release(uint64_t offset, uint64_t count) const;

private:
    const uint8_t * data_ = nullptr;
    uint64_t size_ = 0;
    std::string path_;
};

using MappedFilePtr = std::shared_ptr<const MappedFile>;

}  // namespace latent
