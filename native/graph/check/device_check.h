#pragma once

#include <string>
#include <vector>

#include "core/job.h"
#include "graph/device.h"

namespace latent::graph {

class Home;

/// An operation of a device compared with its definition, computed in float64 on the host.
struct CheckResult {
    std::string name;
    double error = 0;         // root of the summed squares of the differences, divided by that of the definition's values
    double bound = 0;         // largest error allowed on this device
    double first = 0;         // milliseconds of the first run, in which drivers compile their programs
    double milliseconds = 0;  // of the second run

    bool passed() const { return error <= bound; }
};

/// The names of all checks, in order: operations, and products with each type of weights ("linear q8_0").
std::vector<std::string> check_names();
/// The check that a device passes before its first use: one small graph.
const char * first_check();

/// Whether networks use the operation of a check on this home. Throws invalid_argument for an unknown name.
bool home_supports(const Home & home, const std::string & name);

/// Runs one check on a device as networks run there: in float32 if the weights are and the device can, otherwise as precision
/// "fast". Throws what loading and computing on the device throw; device, with `skipped` in the details, where the home
/// does not support the operation; invalid_argument for an unknown name.
CheckResult check_operation(const DevicePtr & device, const std::string & name, const JobContext & job);

}  // namespace latent::graph
