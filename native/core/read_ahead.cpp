#include "core/read_ahead.h"

#include <algorithm>
#include <system_error>
#include <utility>

namespace latent {

namespace {

constexpr uint64_t kPiece = uint64_t{1} << 20;  // read before stop() is noticed
constexpr uint64_t kSmall = uint64_t{64} << 10;

}  // namespace

void ReadAhead::start(std::vector<FileRange> ranges, uint64_t available) {
    stop();
    uint64_t bytes = 0;
    for (const FileRange & range : ranges) bytes += range.count;
    if (bytes == 0 || bytes > available) return;
    stopped_ = false;
    try {
        thread_ = std::thread([this, ranges = std::move(ranges)] { read(ranges); });
    } catch (const std::system_error &) {
        // Without a thread, weights are read when they are used.
    }
}

void ReadAhead::read(const std::vector<FileRange> & ranges) const {
    for (const FileRange & range : ranges) {
        if (stopped_) return;
        if (range.count <= kSmall) {
            range.file->will_need(range.offset, range.count);  // hundreds of norms and biases, all at once
            continue;
        }
        // Copying what is there already would take time from the computation: 0.04 s per GB.
        if (range.file->is_cached(range.offset, range.count)) continue;
        for (uint64_t done = 0; done < range.count; done += kPiece) {
            if (stopped_) return;
            range.file->fetch(range.offset + done, std::min(kPiece, range.count - done));
        }
    }
}

void ReadAhead::stop() {
    stopped_ = true;
    if (thread_.joinable()) thread_.join();
}

}  // namespace latent
