#include "core/read_ahead.h"

#ifdef __linux__
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

#include <chrono>
#include <memory>
#include <mutex>
#include <thread>

#include "check.h"
#include "core/mapped_file.h"
#include "temp_folder.h"

using namespace latent;

namespace {

using namespace std::chrono_literals;

constexpr uint64_t kMegabyte = 1 << 20;

/// Tensors without a file that note the hints about them.
class Noted final : public TensorSource {
public:
    explicit Noted(size_t count, uint64_t bytes) {
        std::vector<TensorInfo> tensors(count);
        for (size_t i = 0; i < count; ++i) {
            tensors[i].name = "t" + std::to_string(i);
            tensors[i].dtype = DType::u8;
            tensors[i].shape = {static_cast<int64_t>(bytes)};
            tensors[i].bytes = bytes;
        }
        set_tensors(std::move(tensors));
    }
    Span<const uint8_t> view(const TensorInfo &) const override { return {}; }
    void read(const TensorInfo &, void *) const override {}
    void advise(const TensorInfo & tensor, PageHint hint) const override {
        const std::lock_guard<std::mutex> lock(mutex_);
        (hint == PageHint::need ? asked_ : awaited_).push_back(tensor.index);
    }
    std::vector<size_t> asked() const {
        const std::lock_guard<std::mutex> lock(mutex_);
        return asked_;
    }
    std::vector<size_t> awaited() const {
        const std::lock_guard<std::mutex> lock(mutex_);
        return awaited_;
    }

private:
    mutable std::mutex mutex_;
    mutable std::vector<size_t> asked_, awaited_;
};

bool soon(const std::function<bool()> & condition) {
    for (int i = 0; i < 1000 && !condition(); ++i) std::this_thread::sleep_for(10ms);
    return condition();
}

}  // namespace

TEST(read_ahead_asks_in_order_and_waits_for_the_oldest) {
    const auto first = std::make_shared<const Noted>(3, 4 * kMegabyte), second = std::make_shared<const Noted>(4, 6 * kMegabyte);
    ReadAhead ahead;
    ahead.start({{first, {2, 0}}, {second, {0, 1, 3}}}, 26 * kMegabyte);
    CHECK(soon([&] { return second->asked().size() == 3; }));
    ahead.stop();
    CHECK((first->asked() == std::vector<size_t>{2, 0}));
    CHECK((second->asked() == std::vector<size_t>{0, 1, 3}));
    // At most 16 MB are under way: 26 MB without the first 12.
    CHECK((first->awaited() == std::vector<size_t>{2, 0}));
}

TEST(read_ahead_asks_for_nothing_that_does_not_fit) {
    const auto source = std::make_shared<const Noted>(2, 8 * kMegabyte);
    ReadAhead ahead;
    ahead.start({{source, {0, 1}}}, 16 * kMegabyte - 1);
    ahead.start({}, UINT64_MAX);
    ahead.stop();
    CHECK(source->asked().empty());
    ahead.start({{source, {0, 1}}}, 16 * kMegabyte);
    CHECK(soon([&] { return source->asked().size() == 2; }));
}

TEST(read_ahead_ends_at_once) {
    const auto source = std::make_shared<const Noted>(100000, kMegabyte);
    std::vector<size_t> all(source->tensors().size());
    for (size_t i = 0; i < all.size(); ++i) all[i] = i;
    {
        ReadAhead ahead;
        ahead.start({{source, all}}, UINT64_MAX);
        ahead.start({{source, {7}}}, UINT64_MAX);  // ends what was asked before
        CHECK(soon([&] { return !source->asked().empty() && source->asked().back() == 7; }));
        ahead.stop();
        ahead.stop();
    }
    CHECK(source->asked().size() < all.size());
}

#ifdef __linux__
namespace {

/// The share of a file's pages in the page cache.
double cached(const MappedFile & file) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    std::vector<unsigned char> present((static_cast<size_t>(file.size()) + page - 1) / page);
    if (mincore(const_cast<uint8_t *>(file.data()), static_cast<size_t>(file.size()), present.data()) != 0) return -1;
    size_t count = 0;
    for (const unsigned char each : present) count += each & 1;
    return static_cast<double>(count) / static_cast<double>(present.size());
}

}  // namespace

TEST(a_whole_range_is_read_ahead) {
    const TempFolder folder;
    const MappedFile file(folder.write("weights.bin", std::string(static_cast<size_t>(24 * kMegabyte), 'w')));
    const int descriptor = open(file.path().c_str(), O_RDONLY);
    CHECK(descriptor >= 0);
    fsync(descriptor);
    posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
    close(descriptor);
    if (cached(file) != 0) return;  // a file system in memory
    // The disk's own read-ahead would read a part of it.
    const uint64_t half = file.size() / 2;
    file.advise(half, half, PageHint::need);
    file.advise(half, half, PageHint::await);
    CHECK(soon([&] { return cached(file) >= 0.5; }));
    file.advise(0, half, PageHint::need);
    CHECK(soon([&] { return cached(file) == 1; }));
    file.advise(1, UINT64_MAX, PageHint::await);  // out of range: ignored
    file.advise(0, 0, PageHint::await);
}
#endif
