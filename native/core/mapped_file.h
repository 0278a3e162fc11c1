#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/error.h"
#include "core/input_file.h"
#include "core/mapping_guard.h"
#include "core/span.h"

namespace latent {

/// What will happen to pages of a mapped file.
enum class PageHint {
    need,     // they will be read soon: the system may read ahead
    release,  // not needed soon; neighbouring data stay
    evict,    // not needed soon, including what the system mapped around them
};

/// A whole file, mapped read-only. Thread-safe after opening.
///
/// Another process may shorten the file while it is mapped (except on Windows). Lost parts then read as zeros (see MappingGuard),
/// and check() reports it: call it before and after using the bytes. It also reports a file that was overwritten in place;
/// replace model files by renaming the new one over them.
class MappedFile {
public:
    /// Throws io if the path is missing, not a regular file or not readable, model_format if the file is empty.
    explicit MappedFile(const std::string & path_utf8);
    ~MappedFile();
    MappedFile(const MappedFile &) = delete;
    MappedFile & operator=(const MappedFile &) = delete;

    const uint8_t * data() const { return data_; }
    uint64_t size() const { return file_.size(); }
    const std::string & path() const { return file_.path(); }

    Span<const uint8_t> bytes() const { return {data_, static_cast<size_t>(size())}; }
    bool contains(uint64_t offset, uint64_t count) const { return offset <= size() && count <= size() - offset; }

    /// Throws io with details {"reason":"file_changed", path, size, expected} if the file has become shorter, was written to, or
    /// could not be read in part.
    void check() const;

    /// Asks the system to read these pages ahead. Only a hint, like release().
    void will_need(uint64_t offset, uint64_t count) const;
    /// Whether these pages can probably be read without waiting for the disk, judged by one in 128 kB. False if unknown.
    bool is_cached(uint64_t offset, uint64_t count) const;
    /// Reads these pages into the system's page cache; errors are ignored. Unlike will_need() it waits, and the system uses large
    /// pages where it can, which are mapped with fewer faults. On Windows the same as will_need().
    void fetch(uint64_t offset, uint64_t count) const;
    /// Lets the system drop these pages: only those entirely inside the range, so that neighbouring data stay.
    void release(uint64_t offset, uint64_t count) const;
    /// The same, with the pages around the range: a fault maps its neighbours as well, which would add up where weights are
    /// dropped one by one.
    void evict(uint64_t offset, uint64_t count) const;
    void advise(uint64_t offset, uint64_t count, PageHint hint) const;

private:
    void drop(uint64_t begin, uint64_t end) const;

    InputFile file_;
    const uint8_t * data_ = nullptr;
    std::unique_ptr<MappingGuard> guard_;
};

using MappedFilePtr = std::shared_ptr<const MappedFile>;

struct FileRange {
    MappedFilePtr file;
    uint64_t offset = 0, count = 0;  // bytes
};

}  // namespace latent
