#include "bindings/job_queue.h"

#include <algorithm>

#include "bindings/node_addon_api.h"

namespace latent::bindings {

namespace {

JobContext context_of(const Job & job, ProgressGate & gate, const std::shared_ptr<Mailbox> & mailbox) {
    JobContext context;
    context.cancel = job.cancel;
    if (job.wants_progress) context.progress = [&gate](const Progress & progress) { gate.report(progress); };
    if (job.wants_preview) {
        context.preview = [mailbox, id = job.id](int step, int index, Picture && picture) {
            mailbox->post(PreviewEvent{id, step, index, std::move(picture)});
        };
    }
    return context;
}

std::unique_ptr<ProgressGate> gate_of(const Job & job, const std::shared_ptr<Mailbox> & mailbox) {
    return std::make_unique<ProgressGate>([mailbox, id = job.id](const Progress & progress) {
        mailbox->post(ProgressEvent{id, progress});
    });
}

}  // namespace

// ---- groups ----------------------------------------------------------------------------------------------------------

Group::Group(std::vector<JobPtr> jobs, std::shared_ptr<Mailbox> mailbox, std::shared_ptr<CancelToken> cancel)
    : mailbox_(std::move(mailbox)) {
    shared_.cancel = std::move(cancel);
    for (JobPtr & job : jobs) {
        Member & member = members_.emplace_back();
        if (!job) continue;
        member.gate = gate_of(*job, mailbox_);
        member.context = context_of(*job, *member.gate, mailbox_);
        member.job = std::move(job);
    }
    shared_.progress = [this](const Progress & progress) {
        for (const Member & member : members_) {
            if (member.job && !member.job->settled && member.context.progress) member.context.progress(progress);
        }
    };
}

void Group::finish(size_t i, Completion completion) {
    settle(i, {members_[i].job->id, std::move(completion), std::nullopt});
}

void Group::fail(size_t i, std::exception_ptr error) {
    settle(i, {members_[i].job->id, nullptr, describe(std::move(error))});
}

void Group::settle(size_t i, FinishedEvent event) {
    Member & member = members_[i];
    if (member.job->settled.exchange(true)) return;
    member.gate->flush();
    mailbox_->post(std::move(event));
}

// ---- the queue -------------------------------------------------------------------------------------------------------

void JobQueue::push(JobPtr job) {
    push(Item{{std::move(job)}, nullptr, nullptr});
}

void JobQueue::push(std::vector<JobPtr> jobs, GroupWork work) {
    push(Item{std::move(jobs), std::move(work), nullptr});
}

void JobQueue::push(Item item) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) throw Error(ErrorCode::disposed, "The engine is shutting down with its thread or process");
    if (!thread_) thread_ = std::make_unique<Thread>([this] { loop(); });
    items_.push_back(std::move(item));
    changed_.notify_one();
}

bool JobQueue::remove(const JobPtr & job) {
    Item removed;  // freed outside the lock
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto it = items_.begin(); it != items_.end(); ++it) {
        const auto found = std::find(it->jobs.begin(), it->jobs.end(), job);
        if (found == it->jobs.end()) continue;
        found->reset();
        if (std::any_of(it->jobs.begin(), it->jobs.end(), [](const JobPtr & each) { return each != nullptr; })) return true;
        removed = std::move(*it);
        items_.erase(it);
        return true;
    }
    return false;
}

void JobQueue::cancelled() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!running_together_) return;
    const bool all = std::all_of(running_.begin(), running_.end(),
                                 [](const JobPtr & job) { return !job || job->settled || job->cancel->cancelled(); });
    if (all) running_together_->cancel();
}

void JobQueue::release(std::shared_ptr<void> object) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_ || !thread_) return;  // the argument dies with this call
    items_.push_back({{}, nullptr, std::move(object)});
    changed_.notify_one();
}

void JobQueue::stop() {
    std::deque<Item> dropped;
    std::unique_ptr<Thread> thread;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stopping_ = true;
        for (const JobPtr & job : running_) {
            if (job) job->cancel->cancel();
        }
        if (running_together_) running_together_->cancel();
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
            running_ = item.jobs;
            if (item.together) running_together_ = std::make_shared<CancelToken>();
        }
        if (item.together) {
            execute(item);
        } else if (!item.jobs.empty()) {
            execute(*item.jobs.front());
        }
        item = {};
        const std::lock_guard<std::mutex> lock(mutex_);
        running_.clear();
        running_together_.reset();
    }
}

void JobQueue::execute(Job & job) {
    const std::unique_ptr<ProgressGate> gate = gate_of(job, mailbox_);
    FinishedEvent finished{job.id, nullptr, std::nullopt};
    try {
        const JobContext context = context_of(job, *gate, mailbox_);
        if (job.cancellable) context.check();
        finished.completion = job.work(context);
    } catch (...) {
        finished.error = describe(std::current_exception());
    }
    job.work = nullptr;  // frees what the job holds here, not on the JavaScript thread
    gate->flush();
    mailbox_->post(std::move(finished));
}

void JobQueue::execute(Item & item) {
    Group group(item.jobs, mailbox_, running_together_);
    try {
        item.together(group);
    } catch (...) {
        for (size_t i = 0; i < group.size(); ++i) {
            if (group.wanted(i)) group.fail(i, std::current_exception());
        }
    }
    item.together = nullptr;  // frees what it holds here
}

}  // namespace latent::bindings
