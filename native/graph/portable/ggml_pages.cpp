#include "graph/portable/ggml_pages.h"

#include <ggml-backend-impl.h>

#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "core/pages.h"
#include "graph/portable/ggml_handles.h"

namespace latent::graph {

namespace {

/// Bytes of the block behind a buffer: rounded up to whole huge pages, so that buffers of nearly the same size can share a block.
size_t block_size(size_t bytes) {
    return bytes < Pages::huge ? bytes : (bytes + Pages::huge - 1) / Pages::huge * Pages::huge;
}

/// Freed blocks that are kept for a request of the same size. Thread-safe.
class SparePages {
public:
    /// A kept block of this size, its contents undefined, or a new one. The kept blocks are freed before a new one is allocated,
    /// so that memory never exceeds what is in use or was in use before.
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
    /// Keeps the block while reuse is on, otherwise frees it.
    void give_back(Pages block) noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (users_ == 0) return;
        try {
            spares_.push_back(std::move(block));
        } catch (const std::bad_alloc &) {
            // freed instead
        }
    }
    void reuse(bool on) {
        const std::lock_guard<std::mutex> lock(mutex_);
        users_ += on ? 1 : -1;
        if (users_ == 0) spares_.clear();
    }
    void clear() {
        const std::lock_guard<std::mutex> lock(mutex_);
        spares_.clear();
    }

private:
    std::mutex mutex_;
    std::vector<Pages> spares_;
    int users_ = 0;
};

// Smaller buffers use malloc, whose heap retains little memory for blocks of this size.
constexpr size_t least_pages = 256 << 10;

}  // namespace

struct PageBuffers::Impl {
    ggml_backend_buffer_type type;
    SparePages spares;
};

PageBuffers::PageBuffers() : impl_(std::make_unique<Impl>()) {
    // A copy of ggml's type, whose members depend on its version, with another allocator.
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
                static_cast<Impl *>(freed->buft->context)->spares.give_back(std::move(block));
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
    impl_->spares.reuse(on);
}

void PageBuffers::trim() {
    impl_->spares.clear();
}

}  // namespace latent::graph
