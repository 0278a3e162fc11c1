#include "check.h"

#if defined(__linux__) && !defined(__CUDACC__)  // where kernels are run as PTX

#include "ptx/counts.h"

// Counts of accesses (ptx/counts.h), of patterns whose numbers are known.

using namespace latent_ptx;

namespace {

Access lanes(uint64_t bytes, uint64_t step, uint64_t from = 0, uint32_t mask = kAll) {
    Access access;
    access.bytes = bytes, access.mask = mask;
    for (size_t lane = 0; lane < kLanes; ++lane) access.at[lane] = from + lane * step;
    return access;
}

std::string shared(const Access & access) {
    Count count;
    access.count_shared(count);
    return std::to_string(count.wavefronts) + " of " + std::to_string(count.least_fronts);
}

std::string global(const Access & access) {
    Count count;
    access.count_global(count);
    return std::to_string(count.sectors) + " of " + std::to_string(count.least_sectors);
}

}  // namespace

TEST(counted_wavefronts) {
    CHECK(shared(lanes(4, 4)) == "1 of 1");
    CHECK(shared(lanes(4, 0)) == "1 of 1");     // one word for all
    CHECK(shared(lanes(4, 8)) == "2 of 1");     // every other bank
    CHECK(shared(lanes(4, 128)) == "32 of 1");  // one bank
    CHECK(shared(lanes(2, 2)) == "1 of 1");
    CHECK(shared(lanes(8, 8)) == "2 of 2");
    CHECK(shared(lanes(16, 16)) == "4 of 4");
    CHECK(shared(lanes(16, 32)) == "8 of 4");
    CHECK(shared(lanes(16, 128)) == "32 of 4");           // eight rows of 128 bytes
    CHECK(shared(lanes(16, 144)) == "4 of 4");            // and of 16 more
    CHECK(shared(lanes(16, 128, 0, 0x101)) == "2 of 2");  // one lane of two quarters
}

TEST(counted_sectors) {
    CHECK(global(lanes(4, 4)) == "4 of 4");
    CHECK(global(lanes(4, 4, 16)) == "5 of 4");
    CHECK(global(lanes(4, 0)) == "1 of 1");
    CHECK(global(lanes(2, 64)) == "32 of 2");
    CHECK(global(lanes(16, 32)) == "32 of 16");
    CHECK(global(lanes(16, 16, 0, 0xff)) == "4 of 4");
}

TEST(counted_kinds) {
    CHECK(kind_of("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32") == Kind::mma);
    CHECK(kind_of("st.shared.v2.f32") == Kind::shared_store);
    CHECK(kind_of("cp.async.cg.shared.global") == Kind::copy);
    CHECK(kind_of("cp.async.wait_group") == Kind::barrier);
    CHECK(kind_of("fma.rn.f32") == Kind::real);
    CHECK(kind_of("mul.wide.s32") == Kind::integer);
}

#endif
