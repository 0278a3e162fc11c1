#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/error.h"

namespace latent {

/// A regular file from outside, opened for reading: the one way in which this library opens what others wrote. Folders, pipes,
/// sockets and devices are refused without waiting for their other end. Thread-safe after opening.
class InputFile {
public:
    /// Throws io if the path is missing, not a regular file or refused, model_format if it is larger than `max_bytes`.
    explicit InputFile(const std::string & path_utf8, uint64_t max_bytes = UINT64_MAX);
    ~InputFile();
    InputFile(const InputFile &) = delete;
    InputFile & operator=(const InputFile &) = delete;

    const std::string & path() const { return path_; }
    /// Bytes when it was opened.
    uint64_t size() const { return size_; }
    /// Bytes now, whatever happened to its name since; 0 if the system cannot say.
    uint64_t size_now() const;
    /// Whether it was written to since it was opened, by its time of change. False on Windows, where no one else may write to it.
    bool was_written() const;
    /// Throws io if fewer bytes are there.
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
    int64_t written_ = 0;  // when it was written to last, in nanoseconds
#endif
};

/// Throws io with what the system says of the last call that failed.
[[noreturn]] void fail_to_open(const std::string & path_utf8);

}  // namespace latent
