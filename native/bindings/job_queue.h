#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

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
    /// Of a job in a group: it has its outcome.
    std::atomic<bool> settled{false};
    bool wants_progress = false;
    bool wants_preview = false;
    bool cancellable = true;  // false: runs even if its token is set (dispose)
};

using JobPtr = std::shared_ptr<Job>;

/// A piece of work for several jobs, each of which is cancelled and settles by itself. Used on the queue's thread.
class Group {
public:
    Group(std::vector<JobPtr> jobs, std::shared_ptr<Mailbox> mailbox, std::shared_ptr<CancelToken> cancel);

    size_t size() const { return members_.size(); }
    /// Whether the job still wants its outcome: it was not removed from the queue.
    bool wanted(size_t i) const { return members_[i].job != nullptr; }
    const JobContext & context(size_t i) const { return members_[i].context; }
    /// The context of what the jobs share: cancelled when all of them are; its progress is that of each.
    const JobContext & shared() const { return shared_; }
    void finish(size_t i, Completion completion);
    void fail(size_t i, std::exception_ptr error);

private:
    struct Member {
        JobPtr job;
        std::unique_ptr<ProgressGate> gate;
        JobContext context;
    };
    void settle(size_t i, FinishedEvent event);

    std::shared_ptr<Mailbox> mailbox_;
    std::vector<Member> members_;
    JobContext shared_;
};

/// Settles every job of the group that is wanted.
using GroupWork = std::function<void(Group &)>;

/// A FIFO queue with its thread: one per environment and device, so that calls on one device of one environment run one after
/// another. (Two environments, for instance two workers, share a device in no particular order.) The thread starts with the first
/// job.
class JobQueue {
public:
    explicit JobQueue(std::shared_ptr<Mailbox> mailbox) : mailbox_(std::move(mailbox)) {}
    ~JobQueue() { stop(); }

    /// Throws disposed after stop(), out_of_memory if no thread can be started.
    void push(JobPtr job);
    /// Queues jobs that start at the same time.
    void push(std::vector<JobPtr> jobs, GroupWork work);
    /// Removes a job that has not started; false if it has.
    bool remove(const JobPtr & job);
    /// Called after a running job has been cancelled.
    void cancelled();
    /// Releases `object` on the queue's thread after the work queued so far; immediately if that thread is not running.
    void release(std::shared_ptr<void> object);
    /// Cancels all work, drops jobs that have not started and waits for the running one. Afterwards the queue accepts no jobs.
    /// Idempotent.
    void stop();

private:
    struct Item {
        std::vector<JobPtr> jobs;  // of a group also null: removed
        GroupWork together;        // empty for a single job
        std::shared_ptr<void> garbage;
    };
    void push(Item item);
    void loop();
    void execute(Job & job);
    void execute(Item & item);

    std::shared_ptr<Mailbox> mailbox_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Item> items_;
    std::vector<JobPtr> running_;
    std::shared_ptr<CancelToken> running_together_;  // of a running group
    bool stopping_ = false;
    std::unique_ptr<Thread> thread_;
};

}  // namespace latent::bindings
