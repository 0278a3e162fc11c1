#include "bindings/thread.h"

#include "core/error.h"

#if defined(_WIN32)
#include <process.h>
#include <windows.h>
#else
#include <pthread.h>
#endif

namespace latent::bindings {
namespace {

constexpr unsigned stack_bytes = 8u << 20;

using Body = std::function<void()>;

#if defined(_WIN32)
unsigned __stdcall enter(void * data) {
    const std::unique_ptr<Body> body(static_cast<Body *>(data));
    (*body)();
    return 0;
}
#else
void * enter(void * data) {
    const std::unique_ptr<Body> body(static_cast<Body *>(data));
    (*body)();
    return nullptr;
}
#endif

}  // namespace

struct Thread::Handle {
#if defined(_WIN32)
    HANDLE thread = nullptr;
#else
    pthread_t thread{};
#endif
};

Thread::Thread(Body body) : handle_(std::make_unique<Handle>()) {
    auto owned = std::make_unique<Body>(std::move(body));
#if defined(_WIN32)
    handle_->thread = reinterpret_cast<HANDLE>(
        _beginthreadex(nullptr, stack_bytes, enter, owned.get(), STACK_SIZE_PARAM_IS_A_RESERVATION, nullptr));
    const bool started = handle_->thread != nullptr;
#else
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack_bytes);
    const bool started = pthread_create(&handle_->thread, &attributes, enter, owned.get()) == 0;
    pthread_attr_destroy(&attributes);
#endif
    if (!started) {
        handle_.reset();
        throw Error(ErrorCode::out_of_memory, "The system could not start a thread for the engine");
    }
    owned.release();  // now owned by the thread
}

Thread::~Thread() {
    join();
}

void Thread::join() {
    if (!handle_) return;
#if defined(_WIN32)
    WaitForSingleObject(handle_->thread, INFINITE);
    CloseHandle(handle_->thread);
#else
    pthread_join(handle_->thread, nullptr);
#endif
    handle_.reset();
}

}  // namespace latent::bindings
