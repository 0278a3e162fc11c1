#pragma once

#include <set>
#include <string>
#include <vector>

#include "core/json.h"

namespace latent::samplers {

/// Reads SolverOptions::extra with checks of type and range, and rejects unknown names. Every read records the name, so a sampler
/// accepts exactly the names that it reads.
class Parameters {
public:
    Parameters(const Json & values, std::string sampler);

    double number(const char * name, double fallback, double low, double high);
    int integer(const char * name, int fallback, int low, int high);
    bool flag(const char * name, bool fallback);
    std::string choice(const char * name, const char * fallback, const std::vector<std::string> & known);
    /// A list of whole numbers.
    std::vector<int> integers(const char * name, int low, int high);

    /// Throws invalid_argument if a given name was never read.
    void finish() const;
    const std::set<std::string> & names() const { return read_; }

private:
    const Json * find(const char * name);
    [[noreturn]] void refuse(const char * name, const std::string & expected) const;
    Json values_;
    std::string sampler_;
    std::set<std::string> read_;
};

/// "a, b, c"
std::string join_names(const std::vector<std::string> & names);

}  // namespace latent::samplers
