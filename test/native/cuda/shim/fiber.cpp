#include "shim/fiber.h"

#include <cstdint>
#include <cstring>

// Registers that a called function must preserve are pushed, and the stack pointer is exchanged.

#if defined(__APPLE__)
#define LATENT_SYMBOL "_latent_switch_stack"
#else
#define LATENT_SYMBOL "latent_switch_stack"
#endif

extern "C" void latent_switch_stack(void ** save, void * to);

#if defined(__x86_64__)

asm(".text\n.globl " LATENT_SYMBOL "\n" LATENT_SYMBOL
    ":\n"
    "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n    pushq %r13\n    pushq %r14\n    pushq %r15\n"
    "    movq %rsp, (%rdi)\n    movq %rsi, %rsp\n"
    "    popq %r15\n    popq %r14\n    popq %r13\n    popq %r12\n    popq %rbx\n    popq %rbp\n    ret\n");
static constexpr int kSlots = 7, kReturn = 6;

#elif defined(__aarch64__)

asm(".text\n.globl " LATENT_SYMBOL "\n" LATENT_SYMBOL
    ":\n"
    "    sub sp, sp, #160\n"
    "    stp x19, x20, [sp, #0]\n    stp x21, x22, [sp, #16]\n    stp x23, x24, [sp, #32]\n    stp x25, x26, [sp, #48]\n"
    "    stp x27, x28, [sp, #64]\n    stp x29, x30, [sp, #80]\n    stp d8, d9, [sp, #96]\n    stp d10, d11, [sp, #112]\n"
    "    stp d12, d13, [sp, #128]\n    stp d14, d15, [sp, #144]\n"
    "    mov x9, sp\n    str x9, [x0]\n    mov sp, x1\n"
    "    ldp x19, x20, [sp, #0]\n    ldp x21, x22, [sp, #16]\n    ldp x23, x24, [sp, #32]\n    ldp x25, x26, [sp, #48]\n"
    "    ldp x27, x28, [sp, #64]\n    ldp x29, x30, [sp, #80]\n    ldp d8, d9, [sp, #96]\n    ldp d10, d11, [sp, #112]\n"
    "    ldp d12, d13, [sp, #128]\n    ldp d14, d15, [sp, #144]\n"
    "    add sp, sp, #160\n    ret\n");
static constexpr int kSlots = 20, kReturn = 11;

#else
#error "the host shim has no fibers for this processor"
#endif

namespace latent_host {

void * make_context(char * stack, size_t size, void (*entry)()) {
    uintptr_t top = reinterpret_cast<uintptr_t>(stack + size) & ~uintptr_t{15};
    top -= 16;  // as after a call: a return address that is never used
    std::memset(reinterpret_cast<void *>(top), 0, 16);
#if defined(__x86_64__)
    top += 8;
#endif
    auto * slots = reinterpret_cast<uintptr_t *>(top) - kSlots;
    std::memset(slots, 0, kSlots * sizeof(uintptr_t));
    slots[kReturn] = reinterpret_cast<uintptr_t>(entry);
    return slots;
}

void switch_context(void ** save, void * to) {
    latent_switch_stack(save, to);
}

}  // namespace latent_host
