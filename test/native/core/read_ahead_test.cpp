#ifdef __linux__
#include "core/read_ahead.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "check.h"
#include "temp_folder.h"

using namespace latent;

namespace {

constexpr uint64_t kMegabyte = 1 << 20;

/// A file of 24 MB whose pages can be dropped from the page cache and counted there.
class CachedFile {
public:
    CachedFile() : file_(std::make_shared<MappedFile>(folder_.write("weights.bin", std::string(24 * kMegabyte, 'w')))) {}

    /// Whether it has worked. Some file systems are in memory, or have a cache of their own.
    bool drop() {
        const int descriptor = open(file_->path().c_str(), O_RDONLY);
        if (descriptor < 0) return false;
        char byte;
        fsync(descriptor);
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
        const bool reads = pread(descriptor, &byte, 1, 0) == 1 && cached(0, 1) == 1;
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
        close(descriptor);
        const bool works = reads && cached(0, file_->size()) == 0;
        if (!works) std::printf("skipped: this file system's pages cannot be dropped\n");
        return works;
    }

    /// The share of these pages in the page cache.
    double cached(uint64_t offset, uint64_t count) const {
        const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE)), first = offset / page * page;
        std::vector<unsigned char> present(static_cast<size_t>((offset + count - first + page - 1) / page));
        void * begin = const_cast<uint8_t *>(file_->data() + first);
        if (mincore(begin, static_cast<size_t>(offset + count - first), present.data()) != 0) return -1;
        size_t found = 0;
        for (const unsigned char each : present) found += each & 1;
        return static_cast<double>(found) / static_cast<double>(present.size());
    }

    const MappedFilePtr & file() const { return file_; }

private:
    TempFolder folder_;
    MappedFilePtr file_;
};

bool soon(const std::function<bool()> & condition) {
    for (int i = 0; i < 1000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return condition();
}

}  // namespace

TEST(hints_read_the_whole_range) {
    CachedFile cached;
    if (!cached.drop()) return;
    const uint64_t half = 12 * kMegabyte;
    cached.file()->advise(half, half, PageHint::need);
    CHECK(soon([&] { return cached.cached(half, half) == 1; }));
    if (!cached.drop()) return;
    CHECK(!cached.file()->is_cached(half, half));
    cached.file()->fetch(half, half);
    CHECK(cached.cached(half, half) == 1);
    // The other half was not asked for; kernels before 4.14 and some file systems cannot tell what is cached.
    if (cached.file()->is_cached(half, half)) CHECK(!cached.file()->is_cached(0, half) || cached.cached(0, half) == 1);
    CHECK(!cached.file()->is_cached(half, half + 1));
    cached.file()->fetch(1, UINT64_MAX);  // out of range: ignored
    cached.file()->fetch(0, 0);
}

TEST(ranges_are_read_ahead) {
    CachedFile cached;
    if (!cached.drop()) return;
    ReadAhead ahead;
    // A small one and two large ones, of which none is a whole number of pieces.
    ahead.start({{cached.file(), 5000, 2000},
                 {cached.file(), 2 * kMegabyte + 7, 5 * kMegabyte},
                 {cached.file(), 16 * kMegabyte, 3000001}},
                UINT64_MAX);
    CHECK(soon([&] { return cached.cached(16 * kMegabyte, 3000001) == 1; }));
    CHECK(cached.cached(2 * kMegabyte, 5 * kMegabyte) == 1);
    CHECK(soon([&] { return cached.cached(5000, 2000) == 1; }));
}

TEST(ranges_that_do_not_fit_are_not_read_ahead) {
    CachedFile cached;
    if (!cached.drop()) return;
    ReadAhead ahead;
    ahead.start({{cached.file(), 0, 12 * kMegabyte}, {cached.file(), 12 * kMegabyte, 12 * kMegabyte}}, 24 * kMegabyte - 1);
    ahead.start({}, UINT64_MAX);
    ahead.stop();
    CHECK(cached.cached(0, 24 * kMegabyte) == 0);
}

TEST(reading_ahead_ends_when_it_is_told_to) {
    CachedFile cached;
    ReadAhead ahead;
    ahead.stop();
    const std::vector<FileRange> endless(2000000, FileRange{cached.file(), 0, 24 * kMegabyte});  // hours
    ahead.start(endless, UINT64_MAX);
    ahead.start(endless, UINT64_MAX);  // ends the first
    ahead.stop();
    ahead.stop();
    ahead.start(endless, UINT64_MAX);
    // The destructor ends it too.
}
#endif
