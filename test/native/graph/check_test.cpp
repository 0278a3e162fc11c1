#include "graph/check/device_check.h"

#include <algorithm>

#include "check.h"
#include "graph/home.h"

using namespace latent;
using namespace latent::graph;

namespace {

/// A home without what adapters do beside the weights.
class PlainHome final : public Home {
public:
    const char * name() const override { return "plain"; }
    bool runs_on(const std::string &) const override { return false; }
    bool is_exact(const Device &) const override { return false; }
    std::unique_ptr<WeightStorage> open_weights(const DevicePtr &) const override { return nullptr; }
    std::unique_ptr<Graph> build(const GraphRequest &) const override { return nullptr; }
};

}  // namespace

TEST(checks_of_adapters_are_for_homes_that_support_them) {
    const PlainHome plain;
    for (const char * name : {"output gain", "output gain conv", "input gain", "rotation 40", "butterfly 16", "kronecker"})
        CHECK(!home_supports(plain, name) && home_supports(home_for("cpu"), name));
    CHECK(home_supports(plain, first_check()) && home_supports(plain, "gated gelu"));
    for (const Home * home : homes()) CHECK(home_supports(*home, "kronecker"));
    CHECK_THROWS(home_supports(plain, "none"), ErrorCode::invalid_argument);
}

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
