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

/// Runs on the queue's thread; the function that it returns runs on the JavaScript thread.
using Work = std::function<Completion(const JobContext &)>;

/// A native operation without JavaScript values.
struct Job {
    uint64_t id = 0;
    std::shared_ptr<CancelToken> cancel = std::make_shared<CancelToken>();
    Work work;
    bool wants_progress = false;
    bool wants_preview = false;
    bool cancellable = true;  // false: runs even if its token is set (dispose)
};

using JobPtr = std::shared_ptr<Job>;

/// A FIFO queue with its thread: one per environment and device, so that calls on one device of one environment run one after
/// another. (Two environments, for instance two workers, share a device in no particular order.) The thread starts with the first
/// job.
class JobQueue {
public:
    explicit JobQueue(std::shared_ptr<Mailbox> mailbox) : mailbox_(std::move(mailbox)) {}
    ~JobQueue() { stop(); }

    /// Throws disposed after stop(), out_of_memory if no thread can be started.
    void push(JobPtr job);
    /// Removes a job that has not started; false if it has.
    bool remove(const JobPtr & job);
    /// Releases `object` on the queue's thread after the work queued so far; immediately if that thread is not running.
    void release(std::shared_ptr<void> object);
    /// Cancels all work, drops jobs that have not started and waits for the running one. Afterwards the queue accepts no jobs.
    /// Idempotent.
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
