#pragma once

#include <memory>

namespace latent::bindings {

class Mailbox;

// The engine has one stream of log messages per process; every environment with a logger receives all of them.
void add_log_listener(const std::shared_ptr<Mailbox> & mailbox);
void remove_log_listener(const Mailbox * mailbox);

}  // namespace latent::bindings
