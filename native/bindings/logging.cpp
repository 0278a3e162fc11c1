#include "bindings/logging.h"

#include <algorithm>
#include <mutex>
#include <vector>

#include "bindings/mailbox.h"
#include "core/log.h"

namespace latent::bindings {
namespace {

// One per process, without JavaScript values. Never destroyed, because threads may log while the process exits.
struct Listeners {
    std::mutex mutex;
    std::vector<std::shared_ptr<Mailbox>> mailboxes;
};

Listeners & listeners() {
    static Listeners * const all = new Listeners;
    return *all;
}

void forward(LogLevel level, const std::string & message) {
    Listeners & all = listeners();
    const std::lock_guard<std::mutex> lock(all.mutex);
    for (const auto & mailbox : all.mailboxes) mailbox->post(LogEvent{level, message});
}

}  // namespace

void add_log_listener(const std::shared_ptr<Mailbox> & mailbox) {
    Listeners & all = listeners();
    const std::lock_guard<std::mutex> lock(all.mutex);
    if (std::find(all.mailboxes.begin(), all.mailboxes.end(), mailbox) == all.mailboxes.end()) all.mailboxes.push_back(mailbox);
    static const bool once = (set_log_receiver(forward), true);
    (void)once;
}

void remove_log_listener(const Mailbox * mailbox) {
    Listeners & all = listeners();
    const std::lock_guard<std::mutex> lock(all.mutex);
    all.mailboxes.erase(
        std::remove_if(all.mailboxes.begin(), all.mailboxes.end(), [&](const auto & one) { return one.get() == mailbox; }),
        all.mailboxes.end());
}

}  // namespace latent::bindings
