#include "bindings/job_queue.h"

#include <algorithm>

#include "bindings/node_addon_api.h"

namespace latent::bindings {

void JobQueue::push(JobPtr job) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) throw Error(ErrorCode::disposed, "The engine is shutting down with its thread or process");
    if (!thread_) thread_ = std::make_unique<Thread>([this] { loop(); });
    items_.push_back({std::move(job), nullptr});
    changed_.notify_one();
}

bool JobQueue::remove(const JobPtr & job) {
    Item removed;  // freed outside the lock
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto it = std::find_if(items_.begin(), items_.end(), [&](const Item & item) { return item.job == job; });
    if (it == items_.end()) return false;
    removed = std::move(*it);
    items_.erase(it);
    return true;
}

void JobQueue::release(std::shared_ptr<void> object) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_ || !thread_) return;  // the argument dies with this call
    items_.push_back({nullptr, std::move(object)});
    changed_.notify_one();
}

void JobQueue::stop() {
    std::deque<Item> dropped;
    std::unique_ptr<Thread> thread;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stopping_ = true;
        if (running_) running_->cancel->cancel();
        dropped.swap(items_);
        thread = std::move(thread_);
        changed_.notify_one();
    }
    if (thread) thread->join();
}

void JobQueue::loop() {
    for (;;) {
        Item item;
        {
            std::unique_lock<std::mutex> lock(mutex_);
            changed_.wait(lock, [this] { return stopping_ || !items_.empty(); });
            if (stopping_) return;
            item = std::move(items_.front());
            items_.pop_front();
            running_ = item.job;
        }
        if (item.job) execute(*item.job);
        item = {};
        const std::lock_guard<std::mutex> lock(mutex_);
        running_.reset();
    }
}

JobContext JobQueue::context_of(const Job & job, ProgressGate & gate) const {
    JobContext context;
    context.cancel = job.cancel;
    if (job.wants_progress) context.progress = [&gate](const Progress & progress) { gate.report(progress); };
    if (job.wants_preview) {
        context.preview = [mailbox = mailbox_, id = job.id](int step, int index, Picture && picture) {
            mailbox->post(PreviewEvent{id, step, index, std::move(picture)});
        };
    }
    return context;
}

void JobQueue::execute(Job & job) {
    ProgressGate gate([&](const Progress & progress) { mailbox_->post(ProgressEvent{job.id, progress}); });
    FinishedEvent finished{job.id, nullptr, std::nullopt};
    try {
        const JobContext context = context_of(job, gate);
        if (job.cancellable) context.check();
        finished.completion = job.work(context);
    } catch (...) {
        finished.error = describe(std::current_exception());
    }
    job.work = nullptr;  // frees what the job holds here, not on the JavaScript thread
    gate.flush();
    mailbox_->post(std::move(finished));
}

}  // namespace latent::bindings
