#include "graph/check/device_check.h"

#include <algorithm>

#include "check.h"

using namespace latent;
using namespace latent::graph;

TEST(the_cpu_passes_its_own_checks) {
    const DevicePtr cpu = Device::create("cpu", 2);
    const std::vector<std::string> names = check_names();
    CHECK(std::count(names.begin(), names.end(), first_check()) == 1);
    for (const std::string & name : names) {
        const CheckResult result = check_operation(cpu, name, {});
        CHECK(result.name == name && result.milliseconds > 0);
        if (!result.passed()) check::fail(__FILE__, __LINE__, name + " is off by " + std::to_string(result.error));
    }
}
