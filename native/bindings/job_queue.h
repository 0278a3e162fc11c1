#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "bindings/mailbox.h"
#include "bindings/thread.h"
#include "core/job.h"

namespace latent::bindings {

/// Runs on the queue's thread; what it returns runs on the JavaScript thread.
using Work = std::function<Completion(const JobContext &)>;

/// A native operation, without anything of JavaScript in it.
struct Job {
    uint64_t id = 0;
    std::shared_ptr<CancelToken> cancel = std::make_shared<CancelToken>();
    Work work;
    bool wants_progress = false;
    bool wants_preview = false;
    bool cancellable = true;  // false: runs even when its token is set (dispose)
};

using JobPtr = std::shared_ptr<Job>;

/// A FIFO and the thread that works it off: one per environment and device, so that calls on one device of one environment follow
/// each other. (Two environments, for instance two workers, share a device without order.) The thread starts with the first job.
class JobQueue {
public:
    explicit JobQueue(std::shared_ptr<Mailbox> mailbox) : mailbox_(std::move(mailbox)) {}
    ~JobQueue() { stop(); }

    /// Throws disposed after stop(), out_of_memory when there is no thread to be had.
    void push(JobPtr job);
    /// Takes a job out that has not begun; false when it has.
    bool remove(const JobPtr & job);
    /// Lets go of `object` on the queue's thread, behind the work that is queued now; at once where that thread is not running.
    void release(std::shared_ptr<void> object);
    /// Cancels all work, drops what has not begun and waits for what has. Afterwards the queue takes nothing more. Idempotent.
    void stop();

private:
    struct Item {
        JobPtr job;
        std::shared_ptr<void> garbage;
    };
    void loop();
    void execute(Job & job);
    JobContext context_of(const Job & job, ProgressGate & gate) const;

    std::shared_ptr<Mailbox> mailbox_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Item> items_;
    JobPtr running_;
    bool stopping_ = false;
    std::unique_ptr<Thread> thread_;
};

}  // namespace latent::bindings
