#include "graph/portable/ggml_pages.h"

#include <ggml-backend-impl.h>

#include <atomic>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "core/pages.h"
#include "graph/portable/ggml_handles.h"

namespace latent::graph {

namespace {

/// Size of the block behind a buffer, rounded up to whole huge pages, so that buffers of similar sizes are interchangeable.
size_t block_size(size_t bytes) {
    return bytes < Pages::huge ? bytes : (bytes + Pages::huge - 1) / Pages::huge * Pages::huge;
}

/// Spare blocks, reused for requests of the same size. Thread-safe.
class SparePages {
public:
    /// The contents are undefined. If no spare has the size, all spares are freed before a new block is allocated, so no more
    /// memory is held than the peak in use.
    Pages take(size_t bytes) {
        const size_t size = block_size(bytes);
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            for (Pages & spare : spares_) {
                if (spare.size() != size) continue;
                std::swap(spare, spares_.back());
                Pages found = std::move(spares_.back());
                spares_.pop_back();
                return found;
            }
            spares_.clear();
        }
        return Pages(size);
    }
    void keep(Pages block) {
        const std::lock_guard<std::mutex> lock(mutex_);
        spares_.push_back(std::move(block));
    }
    void clear() {
        const std::lock_guard<std::mutex> lock(mutex_);
        spares_.clear();
    }

private:
    std::mutex mutex_;
    std::vector<Pages> spares_;
};

// Smaller buffers use malloc, whose heap retains little memory for blocks of this size.
constexpr size_t least_pages = 256 << 10;

}  // namespace

struct PageBuffers::Impl {
    ggml_backend_buffer_type type;
    SparePages spares;
    std::atomic<int> reusing{0};
};

PageBuffers::PageBuffers() : impl_(std::make_unique<Impl>()) {
    // A copy of ggml's buffer type, including members of other ggml versions, with a different allocator.
    ggml_backend_buffer_type & type = impl_->type;
    type = *ggml_backend_cpu_buffer_type();
    type.context = impl_.get();
    type.iface.get_name = [](ggml_backend_buffer_type *) { return "CPU pages"; };
    type.iface.alloc_buffer = [](ggml_backend_buffer_type * own, size_t bytes) -> ggml_backend_buffer * {
        if (bytes < least_pages) return ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), bytes);
        try {
            Pages pages = static_cast<Impl *>(own->context)->spares.take(bytes);
            ggml_backend_buffer * buffer = ggml_backend_cpu_buffer_from_ptr(pages.data(), bytes);
            buffer->buft = own;
            buffer->iface.free_buffer = [](ggml_backend_buffer * freed) {
                Pages block = Pages::adopt(static_cast<uint8_t *>(freed->context), block_size(freed->size));
                Impl & impl = *static_cast<Impl *>(freed->buft->context);
                if (impl.reusing > 0) impl.spares.keep(std::move(block));
            };
            pages.release();
            return buffer;
        } catch (const std::bad_alloc &) {
            return nullptr;  // as in ggml's allocator: exceptions must not pass through C code
        }
    };
}

PageBuffers::~PageBuffers() = default;

ggml_backend_buffer_type * PageBuffers::type() const {
    return &impl_->type;
}

void PageBuffers::reuse(bool on) {
    if ((impl_->reusing += on ? 1 : -1) == 0) impl_->spares.clear();
}

}  // namespace latent::graph
