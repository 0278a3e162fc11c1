#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/error.h"
#include "core/input_file.h"
#include "core/mapping_guard.h"
#include "core/span.h"

namespace latent {

/// A whole file, mapped read-only. Thread-safe after opening.
///
/// Another process may shorten the file while it is mapped (Windows forbids it). What is lost then reads as zeros (see
/// MappingGuard), and check() says so: call it before and after work on the bytes. It also says where the file was overwritten in
/// place: replace model files by renaming a new one over them.
class MappedFile {
public:
    /// Throws io if the path is missing, not a regular file or refused, model_format if the file is empty.
    explicit MappedFile(const std::string & path_utf8);
    ~MappedFile();
    MappedFile(const MappedFile &) = delete;
    MappedFile & operator=(const MappedFile &) = delete;

    const uint8_t * data() const { return data_; }
    uint64_t size() const { return file_.size(); }
    const std::string & path() const { return file_.path(); }

    Span<const uint8_t> bytes() const { return {data_, static_cast<size_t>(size())}; }
    bool contains(uint64_t offset, uint64_t count) const { return offset <= size() && count <= size() - offset; }

    /// Throws io with details {"reason":"file_changed", path, size, expected} where the file has become shorter, was written
    /// to, or could not be read in part.
    void check() const;

    /// Asks for these pages ahead of use. Hints only, as is release.
    void will_need(uint64_t offset, uint64_t count) const;
    /// Lets the system drop these pages: only those wholly inside the range, so that neighbours keep theirs.
    void release(uint64_t offset, uint64_t count) const;

private:
    InputFile file_;
    const uint8_t * data_ = nullptr;
    std::unique_ptr<MappingGuard> guard_;
};

using MappedFilePtr = std::shared_ptr<const MappedFile>;

}  // namespace latent
