#include "core/mapped_file.h"

#include <algorithm>
#include <limits>

#include "core/json.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#endif

namespace latent {

namespace {

size_t mappable_size(const InputFile & file) {
    if (file.size() == 0) {
        throw Error(ErrorCode::model_format, "\"" + file.path() + "\" is empty (0 bytes); download it again");
    }
    if (file.size() > std::numeric_limits<size_t>::max()) {
        throw Error(ErrorCode::io, "\"" + file.path() + "\" is too large to map");
    }
    return static_cast<size_t>(file.size());
}

}  // namespace

void MappedFile::check() const {
    const uint64_t now = file_.size_now();
    const bool shorter = now < size();
    const bool written = file_.was_written();
    if (!shorter && !written && !guard_->lost()) return;
    const std::string what =
        shorter ? "was shortened while it was in use, from " + std::to_string(size()) + " to " + std::to_string(now) + " bytes"
        : guard_->lost() ? "could not be read while it was in use"
                         : "was written to while it was in use";
    const Json details = {{"reason", "file_changed"}, {"path", path()}, {"size", now}, {"expected", size()}};
    throw Error(ErrorCode::io,
                "\"" + path() + "\" " + what +
                    "; restore it and load the model again. To replace a model file, rename the new one over it",
                details.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void MappedFile::evict(uint64_t offset, uint64_t count) const {
    constexpr uint64_t around =
        65536;  // what Linux maps at a fault, aligned (a huge page is dropped as a whole); Windows' granularity
    if (count == 0 || !contains(offset, count)) return;
    const uint64_t address = reinterpret_cast<uintptr_t>(data_), first = address + offset, last = first + count;
    const uint64_t begin = std::max(address, first / around * around);
    const uint64_t end = std::min(address + size(), (last + around - 1) / around * around);
    drop(begin - address, end - address);
}

void MappedFile::advise(uint64_t offset, uint64_t count, PageHint hint) const {
    switch (hint) {
        case PageHint::need: return will_need(offset, count);
        case PageHint::release: return release(offset, count);
        case PageHint::evict: return evict(offset, count);
    }
}

#ifdef _WIN32

namespace {

struct MemoryRange {  // WIN32_MEMORY_RANGE_ENTRY, which older SDK settings do not declare
    void * address;
    size_t bytes;
};

}  // namespace

MappedFile::MappedFile(const std::string & path_utf8) : file_(path_utf8) {
    const size_t size = mappable_size(file_);
    const HANDLE mapping = CreateFileMappingW(file_.handle(), nullptr, PAGE_READONLY, 0, 0, nullptr);
    if (!mapping) fail_to_open(path());
    data_ = static_cast<const uint8_t *>(MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0));
    if (!data_) {
        CloseHandle(mapping);
        fail_to_open(path());
    }
    CloseHandle(mapping);  // the view keeps the mapping alive
    guard_ = std::make_unique<MappingGuard>(data_, size);
}

MappedFile::~MappedFile() {
    guard_.reset();
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

bool MappedFile::is_cached(uint64_t, uint64_t) const {
    return false;
}

void MappedFile::fetch(uint64_t offset, uint64_t count) const {
    will_need(offset, count);
}

void MappedFile::release(uint64_t offset, uint64_t count) const {
    if (!contains(offset, count)) return;
    const uint64_t page = 65536;
    drop((offset + page - 1) / page * page, (offset + count) / page * page);
}

void MappedFile::drop(uint64_t begin, uint64_t end) const {
    // Unlocking pages that are not locked removes them from the working set.
    if (begin < end) VirtualUnlock(const_cast<uint8_t *>(data_ + begin), static_cast<size_t>(end - begin));
}

#else

MappedFile::MappedFile(const std::string & path_utf8) : file_(path_utf8) {
    const size_t size = mappable_size(file_);
    void * mapped = mmap(nullptr, size, PROT_READ, MAP_SHARED, file_.descriptor(), 0);
    if (mapped == MAP_FAILED) fail_to_open(path());
    data_ = static_cast<const uint8_t *>(mapped);
    try {
        guard_ = std::make_unique<MappingGuard>(data_, size);
    } catch (...) {
        munmap(mapped, size);
        throw;
    }
}

MappedFile::~MappedFile() {
    guard_.reset();
    munmap(const_cast<uint8_t *>(data_), static_cast<size_t>(size()));
}

namespace {

uint64_t page_size() {
    static const long page = sysconf(_SC_PAGESIZE);
    return page > 0 ? static_cast<uint64_t>(page) : 4096;
}

}  // namespace

void MappedFile::will_need(uint64_t offset, uint64_t count) const {
    if (count == 0 || !contains(offset, count)) return;
    // Linux reads no more of a request than the read-ahead of the disk, often 128 KiB, and ignores the rest.
    constexpr uint64_t kRequest = 128 << 10;
    const uint64_t end = offset + count;
    for (uint64_t begin = offset / page_size() * page_size(); begin < end; begin += kRequest) {
        madvise(const_cast<uint8_t *>(data_ + begin), static_cast<size_t>(std::min(kRequest, end - begin)), MADV_WILLNEED);
    }
}

bool MappedFile::is_cached(uint64_t offset, uint64_t count) const {
#ifdef RWF_NOWAIT
    constexpr uint64_t kDistance = 128 << 10;
    if (!contains(offset, count)) return false;
    const auto readable = [&](uint64_t at) {
        uint8_t byte;
        const iovec into{&byte, 1};
        return preadv2(file_.descriptor(), &into, 1, static_cast<off_t>(at), RWF_NOWAIT) == 1;
    };
    for (uint64_t done = 0; done < count; done += kDistance) {
        if (!readable(offset + done)) return false;
    }
    return count > 0 && readable(offset + count - 1);
#else
    (void)offset, (void)count;
    return false;
#endif
}

void MappedFile::fetch(uint64_t offset, uint64_t count) const {
    if (!contains(offset, count)) return;
    // Through the file, because reading the mapping would make the pages part of the process.
    uint8_t discarded[32768];
    for (uint64_t done = 0; done < count;) {
        const size_t wanted = static_cast<size_t>(std::min<uint64_t>(count - done, sizeof(discarded)));
        const ssize_t got = pread(file_.descriptor(), discarded, wanted, static_cast<off_t>(offset + done));
        if (got <= 0) return;
        done += static_cast<uint64_t>(got);
    }
}

void MappedFile::release(uint64_t offset, uint64_t count) const {
    if (!contains(offset, count)) return;
    const uint64_t page = page_size();
    drop((offset + page - 1) / page * page, (offset + count) / page * page);
}

/// `begin` is the beginning of a page; a range that ends with the file may end within one.
void MappedFile::drop(uint64_t begin, uint64_t end) const {
    if (begin < end) madvise(const_cast<uint8_t *>(data_ + begin), static_cast<size_t>(end - begin), MADV_DONTNEED);
}

#endif

}  // namespace latent
