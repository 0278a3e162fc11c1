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

/// Bytes of the block behind a buffer: whole huge pages, so that buffers of nearly the same size have one size.
size_t block_size(size_t bytes) {
    return bytes < Pages::huge ? bytes : (bytes + Pages::huge - 1) / Pages::huge * Pages::huge;
}

/// Blocks that wait for a request of their size. Safe to use from several threads.
class SparePages {
public:
    /// Contents undefined. Where no spare has the size, the spares are freed before a new one is taken: no more is held than is
    /// in use now, or was before.
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

// Smaller buffers stay with malloc, which serves blocks of this size from its heap without holding much back.
constexpr size_t least_pages = 256 << 10;

}  // namespace

struct PageBuffers::Impl {
    ggml_backend_buffer_type type;
    SparePages spares;
    std::atomic<int> reusing{0};
};

PageBuffers::PageBuffers() : impl_(std::make_unique<Impl>()) {
    // A copy of ggml's, whatever members it has in the version at hand, but for where memory comes from.
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
            return nullptr;  // as ggml's own: no exception may pass through it
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
