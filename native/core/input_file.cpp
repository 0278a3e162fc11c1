#include "core/input_file.h"

#include <algorithm>
#include <system_error>

#include "core/path.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#endif

namespace latent {

namespace {

constexpr size_t most_at_once = size_t{1} << 30;  // some systems refuse reads of 2 GiB and more

[[noreturn]] void not_regular(const std::string & path) {
    throw Error(ErrorCode::io, "\"" + path + "\" is not a regular file");
}

}  // namespace

void fail_to_open(const std::string & path_utf8) {
#ifdef _WIN32
    const int system_error = static_cast<int>(GetLastError());
#else
    const int system_error = errno;
#endif
    throw Error(ErrorCode::io,
                "Cannot open \"" + path_utf8 + "\": " + std::error_code(system_error, std::system_category()).message());
}

InputFile::InputFile(const std::string & path_utf8, uint64_t max_bytes) : path_(path_utf8) {
    switch (path_kind(path_)) {
        case PathKind::missing: throw Error(ErrorCode::io, "There is no file \"" + path_ + "\"");
        case PathKind::folder: throw Error(ErrorCode::io, "\"" + path_ + "\" is a folder, not a file");
        case PathKind::other: not_regular(path_);
        case PathKind::file: break;
    }
    try {
        open();  // the path may have changed since, so the kind is checked again
        if (size_ > max_bytes) {
            throw Error(ErrorCode::model_format, "\"" + path_ + "\" has " + std::to_string(size_) + " bytes, more than the " +
                                                     std::to_string(max_bytes) + " allowed for such a file");
        }
    } catch (...) {
        close();
        throw;
    }
}

InputFile::~InputFile() {
    close();
}

#ifdef _WIN32

void InputFile::open() {
    const DWORD share = FILE_SHARE_READ | FILE_SHARE_DELETE;
    const HANDLE handle =
        CreateFileW(to_path(path_).native().c_str(), GENERIC_READ, share, nullptr, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
    if (handle == INVALID_HANDLE_VALUE) fail_to_open(path_);
    handle_ = handle;
    LARGE_INTEGER size;
    if (GetFileType(handle) != FILE_TYPE_DISK || !GetFileSizeEx(handle, &size)) not_regular(path_);
    size_ = static_cast<uint64_t>(size.QuadPart);
}

void InputFile::close() {
    if (handle_) CloseHandle(handle_);
    handle_ = nullptr;
}

uint64_t InputFile::size_now() const {
    LARGE_INTEGER size;
    return GetFileSizeEx(handle_, &size) ? static_cast<uint64_t>(size.QuadPart) : 0;
}

bool InputFile::was_written() const {
    return false;
}

void InputFile::read(uint64_t offset, void * destination, size_t count) const {
    for (size_t done = 0; done < count;) {
        OVERLAPPED at = {};
        const uint64_t position = offset + done;
        at.Offset = static_cast<DWORD>(position);
        at.OffsetHigh = static_cast<DWORD>(position >> 32);
        DWORD got = 0;
        const DWORD wanted = static_cast<DWORD>(std::min(count - done, most_at_once));
        if (!ReadFile(handle_, static_cast<char *>(destination) + done, wanted, &got, &at) || got == 0) {
            throw Error(ErrorCode::io, "Cannot read \"" + path_ + "\" at byte " + std::to_string(position));
        }
        done += got;
    }
}

#else

namespace {

int64_t time_of_writing(const struct stat & status) {
#ifdef __APPLE__
    const timespec & time = status.st_mtimespec;
#else
    const timespec & time = status.st_mtim;
#endif
    return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

void InputFile::open() {
    descriptor_ = ::open(to_path(path_).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor_ < 0) fail_to_open(path_);
    struct stat status {};
    if (fstat(descriptor_, &status) != 0) fail_to_open(path_);
    if (!S_ISREG(status.st_mode)) not_regular(path_);
    size_ = static_cast<uint64_t>(status.st_size);
    written_ = time_of_writing(status);
}

void InputFile::close() {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
}

uint64_t InputFile::size_now() const {
    struct stat status {};
    return fstat(descriptor_, &status) == 0 && status.st_size > 0 ? static_cast<uint64_t>(status.st_size) : 0;
}

bool InputFile::was_written() const {
    struct stat status {};
    return fstat(descriptor_, &status) != 0 || time_of_writing(status) != written_;
}

void InputFile::read(uint64_t offset, void * destination, size_t count) const {
    for (size_t done = 0; done < count;) {
        const size_t wanted = std::min(count - done, most_at_once);
        const ssize_t got =
            pread(descriptor_, static_cast<char *>(destination) + done, wanted, static_cast<off_t>(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            throw Error(ErrorCode::io, "Cannot read \"" + path_ + "\" at byte " + std::to_string(offset + done) + ": " +
                                           (got < 0 ? std::error_code(errno, std::system_category()).message()
                                                    : std::string("the file ends there")));
        }
        done += static_cast<size_t>(got);
    }
}

#endif

}  // namespace latent
