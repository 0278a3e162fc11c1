#pragma once

#include <cstddef>

// A stack to run on, and switching between stacks. x86-64 and arm64 with the usual calling conventions (not Windows).

namespace latent_host {

/// A new context on [stack, stack + size) that begins in entry(), which must never return.
void * make_context(char * stack, size_t size, void (*entry)());
/// Saves the running context and continues in `to`.
void switch_context(void ** save, void * to);

}  // namespace latent_host
