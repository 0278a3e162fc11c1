#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/error.h"

namespace latent {

/// A regular file from outside, opened for reading; the only way in which this library opens such files. Folders, pipes, sockets
/// and devices are rejected without blocking. Thread-safe after opening.
class InputFile {
public:
    /// Throws io if the path is missing, not a regular file or not readable, model_format if it is larger than `max_bytes`.
    explicit InputFile(const std::string & path_utf8, uint64_t max_bytes = UINT64_MAX);
    ~InputFile();
    InputFile(const InputFile &) = delete;
    InputFile & operator=(const InputFile &) = delete;

    const std::string & path() const { return path_; }
    /// Size in bytes when it was opened.
    uint64_t size() const { return size_; }
    /// Current size in bytes, even if it has been renamed or deleted since; 0 if unknown.
    uint64_t size_now() const;
    /// Whether it has been written to since it was opened, judged by its modification time. False on Windows, where others cannot
    /// write to it.
    bool was_written() const;
    /// Throws io if there are fewer bytes.
    void read(uint64_t offset, void * destination, size_t count) const;

#ifdef _WIN32
    void * handle() const {
        return handle_;
    }
#else
    int descriptor() const {
        return descriptor_;
    }
#endif

private:
    void open();  // sets the handle and the size
    void close();

    std::string path_;
    uint64_t size_ = 0;
#ifdef _WIN32
    void * handle_ = nullptr;
#else
    int descriptor_ = -1;
    int64_t written_ = 0;  // modification time in nanoseconds
#endif
};

/// Throws io with the system's message for the last failed call.
[[noreturn]] void fail_to_open(const std::string & path_utf8);

}  // namespace latent
