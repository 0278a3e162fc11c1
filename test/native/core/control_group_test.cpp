#include "core/control_group.h"

#include "check.h"
#include "core/cpu.h"
#include "temp_folder.h"

using namespace latent;

TEST(control_group_limits) {
    const TempFolder folder;
    const std::string v1 = folder.folder("v1"), v2 = folder.folder("v2");
    folder.folder("v1/cpu"), folder.folder("v1/memory");
    const auto cpu = [&](const std::string & text) {
        folder.write("v2/cpu.max", text);
        return ControlGroup(v2).cpu_limit();
    };
    CHECK(cpu("max 100000\n") == 0);
    CHECK(cpu("100000 100000\n") == 1);
    CHECK(cpu("150000 100000\n") == 2);  // rounded up
    CHECK(cpu("1000 100000\n") == 1);
    CHECK(cpu("800000 100000\n") == 8);
    CHECK(cpu("0 100000\n") == 0);
    CHECK(cpu("100000 0\n") == 0);
    CHECK(cpu("18446744073709551615 1\n") == 1 << 20);
    CHECK(cpu("rubbish\n") == 0);
    folder.write("v2/memory.max", "2147483648\n");
    folder.write("v2/memory.current", "1048576\n");
    CHECK(ControlGroup(v2).memory_limit() == uint64_t{1} << 31);
    CHECK(ControlGroup(v2).memory_used() == uint64_t{1} << 20);
    folder.write("v2/memory.max", "max\n");
    CHECK(ControlGroup(v2).memory_limit() == 0);

    folder.write("v1/cpu/cpu.cfs_quota_us", "-1\n");
    folder.write("v1/cpu/cpu.cfs_period_us", "100000\n");
    CHECK(ControlGroup(v1).cpu_limit() == 0);
    folder.write("v1/cpu/cpu.cfs_quota_us", "250000\n");
    CHECK(ControlGroup(v1).cpu_limit() == 3);
    folder.write("v1/memory/memory.limit_in_bytes", "9223372036854771712\n");
    folder.write("v1/memory/memory.usage_in_bytes", "4096\n");
    CHECK(ControlGroup(v1).memory_limit() == 0);
    CHECK(ControlGroup(v1).memory_used() == 4096);

    const ControlGroup none(folder.file("none"));
    CHECK(none.cpu_limit() == 0 && none.memory_limit() == 0 && none.memory_used() == 0);
}

TEST(usable_cores_keep_to_the_quota) {
    const TempFolder folder;
    const int all = usable_cores(ControlGroup(folder.path()));
    CHECK(all >= 1);
    folder.write("cpu.max", "50000 100000\n");
    CHECK(usable_cores(ControlGroup(folder.path())) == 1);
    folder.write("cpu.max", std::to_string(all * 100000 + 1) + " 100000\n");
    CHECK(usable_cores(ControlGroup(folder.path())) == all);
    CHECK(usable_cores() <= all);
}
