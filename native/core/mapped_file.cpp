#include "core/mapped_file.h"

#include <limits>
#include <system_error>

#include "core/path.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#endif

namespace latent {

namespace {

[[noreturn]] void fail(const std::string & path, int system_error) {
    const std::error_code code(system_error, std::system_category());
    throw Error(ErrorCode::io, "Cannot open \"" + path + "\": " + code.message());
}

void check_kind(const std::string & path) {
    switch (path_kind(path)) {
        case PathKind::missing: throw Error(ErrorCode::io, "There is no file \"" + path + "\"");
        case PathKind::folder: throw Error(ErrorCode::io, "\"" + path + "\" is a folder, not a file");
        case PathKind::other: throw Error(ErrorCode::io, "\"" + path + "\" is not a regular file");
        case PathKind::file: return;
    }
}

uint64_t usable_size(const std::string & path, uint64_t size) {
    if (size == 0) throw Error(ErrorCode::model_format, "\"" + path + "\" is empty (0 bytes); download it again");
    if (size > std::numeric_limits<size_t>::max()) throw Error(ErrorCode::io, "\"" + path + "\" is too large to be mapped");
    return size;
}

}  // namespace

#ifdef _WIN32

namespace {

struct Handle {
    HANDLE value;
    ~Handle() {
        if (value && value != INVALID_HANDLE_VALUE) CloseHandle(value);
    }
};

struct MemoryRange {  // WIN32_MEMORY_RANGE_ENTRY, which older SDK settings hide
    void * address;
    size_t bytes;
};

}  // namespace

MappedFile::MappedFile(const std::string & path_utf8) : path_(path_utf8) {
    check_kind(path_);
    const std::wstring wide = to_path(path_).native();
    const DWORD share = FILE_SHARE_READ | FILE_SHARE_DELETE;
    const Handle file{CreateFileW(wide.c_str(), GENERIC_READ, share, nullptr, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr)};
    if (file.value == INVALID_HANDLE_VALUE) fail(path_, static_cast<int>(GetLastError()));
    LARGE_INTEGER size;
    if (GetFileType(file.value) != FILE_TYPE_DISK || !GetFileSizeEx(file.value, &size)) {
        throw Error(ErrorCode::io, "\"" + path_ + "\" is not a regular file");
    }
    size_ = usable_size(path_, static_cast<uint64_t>(size.QuadPart));
    const Handle mapping{CreateFileMappingW(file.value, nullptr, PAGE_READONLY, 0, 0, nullptr)};
    if (!mapping.value) fail(path_, static_cast<int>(GetLastError()));
    data_ = static_cast<const uint8_t *>(MapViewOfFile(mapping.value, FILE_MAP_READ, 0, 0, 0));
    if (!data_) fail(path_, static_cast<int>(GetLastError()));
}

MappedFile::~MappedFile() {
    UnmapViewOfFile(data_);
}

void MappedFile::will_need(uint64_t offset, uint64_t count) const {
    if (count == 0 || !contains(offset, count)) return;
    using Prefetch = BOOL(WINAPI *)(HANDLE, ULONG_PTR, MemoryRange *, ULONG);
    static const auto prefetch = reinterpret_cast<Prefetch>(
        reinterpret_cast<void *>(GetProcAddress(GetModuleHandleW(L"kernel32.dll"), "PrefetchVirtualMemory")));
    MemoryRange range{const_cast<uint8_t *>(data_ + offset), static_cast<size_t>(count)};
    if (prefetch) prefetch(GetCurrentProcess(), 1, &range, 0);
}

void MappedFile::release(uint64_t offset, uint64_t count) const {
    if (!contains(offset, count)) return;
    const uint64_t page = 65536;
    const uint64_t begin = (offset + page - 1) / page * page, end = (offset + count) / page * page;
    // Unlocking pages that were never locked takes them out of the working set.
    if (begin < end) VirtualUnlock(const_cast<uint8_t *>(data_ + begin), static_cast<size_t>(end - begin));
}

#else

namespace {

struct Descriptor {
    int value;
    ~Descriptor() {
        if (value >= 0) close(value);
    }
};

}  // namespace

MappedFile::MappedFile(const std::string & path_utf8) : path_(path_utf8) {
    check_kind(path_);
    // Non-blocking, so that a pipe put there in the meantime cannot hang us.
    const Descriptor file{open(to_path(path_).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (file.value < 0) fail(path_, errno);
    struct stat status {};
    if (fstat(file.value, &status) != 0) fail(path_, errno);
    if (!S_ISREG(status.st_mode)) throw Error(ErrorCode::io, "\"" + path_ + "\" is not a regular file");
    size_ = usable_size(path_, static_cast<uint64_t>(status.st_size));
    void * mapped = mmap(nullptr, static_cast<size_t>(size_), PROT_READ, MAP_SHARED, file.value, 0);
    if (mapped == MAP_FAILED) fail(path_, errno);
    data_ = static_cast<const uint8_t *>(mapped);
}

MappedFile::~MappedFile() {
    munmap(const_cast<uint8_t *>(data_), static_cast<size_t>(size_));
}

namespace {

uint64_t page_size() {
    static const long page = sysconf(_SC_PAGESIZE);
    return page > 0 ? static_cast<uint64_t>(page) : 4096;
}

}  // namespace

void MappedFile::will_need(uint64_t offset, uint64_t count) const {
    if (count == 0 || !contains(offset, count)) return;
    const uint64_t begin = offset / page_size() * page_size();
    madvise(const_cast<uint8_t *>(data_ + begin), static_cast<size_t>(offset + count - begin), MADV_WILLNEED);
}

void MappedFile::release(uint64_t offset, uint64_t count) const {
    if (!contains(offset, count)) return;
    const uint64_t page = page_size();
    const uint64_t begin = (offset + page - 1) / page * page, end = (offset + count) / page * page;
    if (begin < end) madvise(const_cast<uint8_t *>(data_ + begin), static_cast<size_t>(end - begin), MADV_DONTNEED);
}

#endif

}  // namespace latent
