#include "core/read_ahead.h"

#include <deque>
#include <system_error>
#include <utility>

namespace latent {

namespace {

/// Bytes that have been asked for and not been read yet. Enough to keep a disk busy; with more, what the computation needs now
/// would wait behind it.
constexpr uint64_t kUnderWay = uint64_t{16} << 20;

uint64_t bytes_of(const std::vector<ReadAhead::Range> & ranges) {
    uint64_t bytes = 0;
    for (const ReadAhead::Range & range : ranges) {
        for (const size_t tensor : range.tensors) bytes += range.source->tensors()[tensor].stored_bytes();
    }
    return bytes;
}

}  // namespace

void ReadAhead::start(std::vector<Range> ranges, uint64_t available) {
    stop();
    const uint64_t bytes = bytes_of(ranges);
    if (bytes == 0 || bytes > available) return;
    stopped_ = false;
    try {
        thread_ = std::thread([this, ranges = std::move(ranges)] { read(ranges); });
    } catch (const std::system_error &) {
        // Without a thread, weights are read when they are used.
    }
}

void ReadAhead::read(const std::vector<Range> & ranges) const {
    struct Asked {
        const TensorSource * source;
        const TensorInfo * tensor;
    };
    std::deque<Asked> asked;
    uint64_t under_way = 0;
    for (const Range & range : ranges) {
        for (const size_t index : range.tensors) {
            const TensorInfo & tensor = range.source->tensors()[index];
            range.source->advise(tensor, PageHint::need);
            asked.push_back({range.source.get(), &tensor});
            under_way += tensor.stored_bytes();
            while (under_way > kUnderWay) {
                if (stopped_) return;
                const Asked & oldest = asked.front();
                oldest.source->advise(*oldest.tensor, PageHint::await);
                under_way -= oldest.tensor->stored_bytes();
                asked.pop_front();
            }
        }
    }
}

void ReadAhead::stop() {
    stopped_ = true;
    if (thread_.joinable()) thread_.join();
}

}  // namespace latent
