#include "shim/host_device.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/device_code.h"
#include "shim/fiber.h"
#include "shim/watch.h"

#if defined(__SANITIZE_ADDRESS__)
#define LATENT_HOST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LATENT_HOST_ASAN 1
#endif
#endif
#ifdef LATENT_HOST_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace latent_host {
namespace {

constexpr size_t kStackBytes = 96 << 10;
constexpr int kMaxWarps = 32;

struct Copy {
    void * to;
    const void * from;
    bool valid, done;
};

enum class Collective { none, sync, ldmatrix, ldmatrix_trans, mma_bf16, mma_f16, shuffle };

struct Lane {
    void * context = nullptr;
    std::unique_ptr<char[]> stack;
    dim3 id;
    std::vector<Copy> copies;    // of all groups that are not waited for
    std::vector<size_t> groups;  // where each ends
    // The collective it waits in.
    Collective kind = Collective::none;
    void * out = nullptr;
    const void *in = nullptr, *in2 = nullptr;
    float value = 0;
    int other = 0;
    bool done = false;
};

struct Warp {
    uint32_t runnable = 0;
    int arrived = 0;  // at the collective
};

struct Block {
    std::vector<Lane> lanes;
    Warp warps[kMaxWarps];
    std::vector<unsigned char> shared;
    size_t shared_bytes = 0;
    const std::function<void()> * body = nullptr;
    dim3 index, grid;
    unsigned long long number = 0;  // of the blocks before this one in the grid
    int count = 0, current = 0, alive = 0;
    int at_barrier = 0;
    void * host = nullptr;  // the launching context
    std::string error;
    uint64_t chance = 1;
    unsigned first_chance = 1;
    long switches = 0;
#ifdef LATENT_HOST_ASAN
    const void * host_stack = nullptr;
    size_t host_size = 0;
    void * host_fake = nullptr;
#endif
};

Block & block() {
    static thread_local Block b;
    return b;
}

uint32_t random32() {
    uint64_t & s = block().chance;
    s ^= s << 13, s ^= s >> 7, s ^= s << 17;
    return static_cast<uint32_t>(s >> 16);
}

Lane & self() {
    return block().lanes[static_cast<size_t>(block().current)];
}

/// A set bit of a mask that is not 0, by chance.
int pick(uint32_t mask) {
    const unsigned turn = random32() & 31u;
    const uint32_t turned = turn ? (mask >> turn | mask << (32 - turn)) : mask;
    return (__builtin_ctz(turned) + static_cast<int>(turn)) & 31;
}

/// The next lane to run: of this warp while it has one, mostly. -1: none.
int next_lane(bool stay) {
    Block & b = block();
    const int mine = b.current / 32;
    if (stay && b.warps[mine].runnable) return mine * 32 + pick(b.warps[mine].runnable);
    uint32_t ready = 0;
    for (int w = 0; w < b.count / 32; ++w) {
        if (b.warps[w].runnable) ready |= 1u << w;
    }
    if (!ready) return -1;
    const int w = pick(ready);
    return w * 32 + pick(b.warps[w].runnable);
}

void to_host(void ** save) {
    Block & b = block();
#ifdef LATENT_HOST_ASAN
    __sanitizer_start_switch_fiber(nullptr, b.host_stack, b.host_size);
#endif
    switch_context(save, b.host);
}

void go(int lane, bool ended) {
    Block & b = block();
    Lane & from = self();
    Lane & to = b.lanes[static_cast<size_t>(lane)];
    b.current = lane;
    if (&from == &to) return;
    ++b.switches;
#ifdef LATENT_HOST_ASAN
    void * fake = nullptr;
    __sanitizer_start_switch_fiber(ended ? nullptr : &fake, to.stack.get(), kStackBytes);
#else
    (void)ended;
#endif
    switch_context(&from.context, to.context);
#ifdef LATENT_HOST_ASAN
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void entry() {
    Block & b = block();
#ifdef LATENT_HOST_ASAN
    // Only the first lane comes from the host; its stack is needed to go back there.
    const void * stack = nullptr;
    size_t size = 0;
    __sanitizer_finish_switch_fiber(nullptr, &stack, &size);
    if (!b.host_stack) b.host_stack = stack, b.host_size = size;
#endif
    (*b.body)();
    Lane & lane = self();
    const size_t committed = lane.groups.empty() ? 0 : lane.groups.back();
    if (lane.copies.size() > committed) fail("a thread ended with copies that were not committed");
    lane.done = true;
    --b.alive;
    b.warps[b.current / 32].runnable &= ~(1u << b.current % 32);
    if (b.at_barrier) fail("a thread ended while others wait in a barrier of the block");
    if (b.warps[b.current / 32].arrived) fail("a lane ended while its warp waits");
    const int next = next_lane(true);
    void * nowhere = nullptr;
    if (next >= 0) go(next, true);
    if (b.alive > 0) fail("threads wait for one another");
    to_host(&nowhere);
}

/// Everything between issue and wait is possible: the copy that was done at once, and the one done last.
void perform(Copy & copy) {
    if (copy.done) return;
    copy.done = true;
    if (copy.valid)
        std::memcpy(copy.to, copy.from, 16);
    else
        std::memset(copy.to, 0, 16);
}

void check_shared(const void * p, size_t bytes, const char * what) {
    const auto * at = static_cast<const unsigned char *>(p);
    const unsigned char * base = dynamic_shared();
    if (at < base || at + bytes > base + block().shared_bytes) fail(what, " is outside shared memory");
    if (reinterpret_cast<uintptr_t>(p) % bytes) fail(what, " is not aligned");
}

void do_ldmatrix(Lane * lanes, bool transposed) {
    uint16_t m[4][8][8];
    for (int i = 0; i < 32; ++i) std::memcpy(m[i / 8][i % 8], lanes[i].in, 16);
    for (int l = 0; l < 32; ++l) {
        auto * r = static_cast<uint32_t *>(lanes[l].out);
        for (int i = 0; i < 4; ++i) {
            const int row = l / 4, column = l % 4 * 2;
            const uint16_t a = transposed ? m[i][column][row] : m[i][row][column];
            const uint16_t b = transposed ? m[i][column + 1][row] : m[i][row][column + 1];
            r[i] = a | static_cast<uint32_t>(b) << 16;
        }
    }
}

float value_of(uint32_t word, int half, bool f16) {
    const auto bits = static_cast<uint16_t>(half ? word >> 16 : word & 0xffffu);
    return f16 ? latent::cuda::to_float(latent::cuda::f16{bits}) : latent::cuda::to_float(latent::cuda::bf16{bits});
}

void do_mma(Lane * lanes, bool f16) {
    float a[16][16], b[16][8], c[16][8];
    for (int l = 0; l < 32; ++l) {
        const int g = l / 4, q = l % 4 * 2;
        const auto * wa = static_cast<const uint32_t *>(lanes[l].in);
        const auto * wb = static_cast<const uint32_t *>(lanes[l].in2);
        const auto * wc = static_cast<const float *>(lanes[l].out);
        for (int h = 0; h < 2; ++h) {
            a[g][q + h] = value_of(wa[0], h, f16), a[g + 8][q + h] = value_of(wa[1], h, f16);
            a[g][q + 8 + h] = value_of(wa[2], h, f16), a[g + 8][q + 8 + h] = value_of(wa[3], h, f16);
            b[q + h][g] = value_of(wb[0], h, f16), b[q + 8 + h][g] = value_of(wb[1], h, f16);
            c[g][q + h] = wc[h], c[g + 8][q + h] = wc[2 + h];
        }
    }
    for (int m = 0; m < 16; ++m) {
        for (int k = 0; k < 16; ++k) {
            for (int n = 0; n < 8; ++n) c[m][n] += a[m][k] * b[k][n];
        }
    }
    for (int l = 0; l < 32; ++l) {
        const int g = l / 4, q = l % 4 * 2;
        auto * wc = static_cast<float *>(lanes[l].out);
        for (int h = 0; h < 2; ++h) wc[h] = c[g][q + h], wc[2 + h] = c[g + 8][q + h];
    }
}

void perform_collective(Lane * lanes, Collective kind) {
    switch (kind) {
        case Collective::ldmatrix: return do_ldmatrix(lanes, false);
        case Collective::ldmatrix_trans: return do_ldmatrix(lanes, true);
        case Collective::mma_bf16: return do_mma(lanes, false);
        case Collective::mma_f16: return do_mma(lanes, true);
        case Collective::shuffle:
            for (int l = 0; l < 32; ++l) *static_cast<float *>(lanes[l].out) = lanes[lanes[l].other & 31].value;
            return;
        case Collective::sync:
        case Collective::none: return;
    }
}

/// The last lane of a warp to arrive does the work for all.
void arrive(Collective kind) {
    Block & b = block();
    const int w = b.current / 32;
    Warp & warp = b.warps[w];
    Lane * lanes = &b.lanes[static_cast<size_t>(w) * 32];
    self().kind = kind;
    if (++warp.arrived < 32) {
        warp.runnable &= ~(1u << b.current % 32);
        const int next = next_lane(true);
        if (next < 0) fail("threads wait for one another");
        go(next, false);
        return;
    }
    for (int l = 0; l < 32; ++l) {
        if (lanes[l].kind != kind) fail("lanes of a warp are in different collectives");
    }
    perform_collective(lanes, kind);
    warp.arrived = 0;
    warp.runnable = 0xffffffffu;
    if ((random32() & 15u) == 0) go(next_lane(false), false);
}

}  // namespace

void seed(unsigned value) {
    block().first_chance = value;
}
unsigned long long first_chance() {
    return 0x9e3779b97f4a7c15ull * (block().first_chance + 1ull);
}

long switches() {
    return block().switches;
}

void fail(const char * what, const char * more) {
    Block & b = block();
    if (!b.body) throw std::runtime_error(std::string(what) + more);
    b.error.assign(what).append(more);
    void * nowhere = nullptr;
    to_host(&nowhere);
    std::abort();  // not reached: an ended block's lanes are not resumed
}

unsigned char * dynamic_shared() {
    const auto p = reinterpret_cast<uintptr_t>(block().shared.data());
    return reinterpret_cast<unsigned char *>((p + 127) / 128 * 128);
}
const dim3 & thread_index() {
    return self().id;
}
const dim3 & block_index() {
    return block().index;
}
const dim3 & grid_size() {
    return block().grid;
}

Watch *& watch() {
    static Watch * only = nullptr;
    return only;
}
Running running() {
    const Block & b = block();
    const auto thread = static_cast<unsigned>(b.current);
    return {thread, b.number * static_cast<unsigned>(b.count) + thread, b.lanes[thread].stack.get(), kStackBytes};
}

uint32_t atomic_add(uint32_t * p, uint32_t v) {
    const uint32_t old = *p;
    *p += v;
    return old;
}

void sync_threads() {
    Block & b = block();
    if (b.alive < b.count) fail("a thread ended while others wait in a barrier of the block");
    if (++b.at_barrier < b.count) {
        b.warps[b.current / 32].runnable &= ~(1u << b.current % 32);
        const int next = next_lane(true);
        if (next < 0) fail("threads wait for one another");
        go(next, false);
        return;
    }
    b.at_barrier = 0;
    if (watch()) watch()->barrier();
    for (int w = 0; w < b.count / 32; ++w) b.warps[w].runnable = 0xffffffffu;
    go(next_lane(false), false);
}

void sync_warp() {
    arrive(Collective::sync);
}

void cp_async16(void * to, const void * from, bool valid) {
    check_shared(to, 16, "the target of a cp.async");
    if (reinterpret_cast<uintptr_t>(from) % 16) fail("the source of a cp.async is not aligned");
    if (watch()) {
        if (valid) watch()->read(from, 16);
        watch()->copy_issued(to);
    }
    self().copies.push_back({to, from, valid, false});
    if (random32() & 1u) perform(self().copies.back());
}

void cp_async_commit() {
    self().groups.push_back(self().copies.size());
}

void cp_async_wait(int left) {
    Lane & lane = self();
    if (lane.groups.size() <= static_cast<size_t>(left)) return;
    const size_t ended = lane.groups.size() - static_cast<size_t>(left), count = lane.groups[ended - 1];
    for (size_t i = 0; i < count; ++i) {
        perform(lane.copies[i]);
        if (watch()) watch()->copy_done(lane.copies[i].to);
    }
    lane.copies.erase(lane.copies.begin(), lane.copies.begin() + static_cast<std::ptrdiff_t>(count));
    lane.groups.erase(lane.groups.begin(), lane.groups.begin() + static_cast<std::ptrdiff_t>(ended));
    for (size_t & end : lane.groups) end -= count;
}

void ldmatrix(uint32_t * r, const void * row, bool transposed) {
    check_shared(row, 16, "a row of ldmatrix");
    if (watch()) watch()->read(row, 16);
    self().out = r, self().in = row;
    arrive(transposed ? Collective::ldmatrix_trans : Collective::ldmatrix);
}

void mma(bool half, float * c, const uint32_t * a, const uint32_t * b) {
    self().out = c, self().in = a, self().in2 = b;
    arrive(half ? Collective::mma_f16 : Collective::mma_bf16);
}

float shuffle_xor(float v, int mask) {
    float got = 0;
    self().value = v, self().out = &got, self().other = (block().current % 32) ^ mask;
    arrive(Collective::shuffle);
    return got;
}

/// One block, from its first thread to its last.
static void run_block(Block & b) {
    std::fill(b.shared.begin(), b.shared.end(), static_cast<unsigned char>(0xff));
    for (int i = 0; i < b.count; ++i) {
        Lane & lane = b.lanes[static_cast<size_t>(i)];
        lane.id = dim3(static_cast<unsigned>(i), 0, 0);
        lane.done = false, lane.kind = Collective::none;
        lane.copies.clear(), lane.groups.clear();
        if (!lane.stack) lane.stack.reset(new char[kStackBytes]);
#ifdef LATENT_HOST_ASAN
        __asan_unpoison_memory_region(lane.stack.get(), kStackBytes);
#endif
        lane.context = make_context(lane.stack.get(), kStackBytes, entry);
    }
    for (int w = 0; w < b.count / 32; ++w) b.warps[w] = {0xffffffffu, 0};
    if (watch()) watch()->block(dynamic_shared(), b.shared_bytes);
    b.alive = b.count, b.at_barrier = 0;
    b.current = 0;
    b.current = next_lane(false);
#ifdef LATENT_HOST_ASAN
    b.host_stack = nullptr;
    __sanitizer_start_switch_fiber(&b.host_fake, self().stack.get(), kStackBytes);
#endif
    switch_context(&b.host, self().context);
#ifdef LATENT_HOST_ASAN
    __sanitizer_finish_switch_fiber(b.host_fake, nullptr, nullptr);
#endif
    if (watch()) watch()->block(nullptr, 0);
}

static void run_grid(const dim3 & grid, int threads, size_t shared, const std::function<void()> & body) {
    Block & b = block();
    if (threads % 32 || threads < 32 || threads > 32 * kMaxWarps) throw std::runtime_error("whole warps only, at most 32");
    b.count = threads, b.grid = grid, b.body = &body, b.error.clear();
    if (b.lanes.size() < static_cast<size_t>(threads)) b.lanes.resize(static_cast<size_t>(threads));
    b.shared.assign(shared + 128, 0xff), b.shared_bytes = shared;
    b.number = 0;
    if (watch()) watch()->launched();
    b.chance = first_chance();
    for (unsigned z = 0; z < grid.z && b.error.empty(); ++z) {
        for (unsigned y = 0; y < grid.y && b.error.empty(); ++y) {
            for (unsigned x = 0; x < grid.x && b.error.empty(); ++x) {
                b.index = dim3(x, y, z);
                run_block(b);
                ++b.number;
            }
        }
    }
    b.body = nullptr;
    if (!b.error.empty()) throw std::runtime_error(b.error);
}

void launch(const void * kernel, dim3 grid, int threads, size_t shared, cudaStream_t stream, std::function<void()> body,
            std::vector<unsigned char> parameters) {
    if (grid.x < 1 || grid.y < 1 || grid.z < 1) throw std::runtime_error("a grid without blocks");
    if (grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535)
        throw std::runtime_error("a grid is too wide, too high or too deep");
    run_or_record(stream, [=] {
        check_shared_memory(kernel, shared);
        if (emulator())
            emulator()(kernel, grid, threads, shared, parameters);
        else
            run_grid(grid, threads, shared, body);
    });
}

}  // namespace latent_host
