#pragma once

#include <cstdint>
#include <string>
#include <vector>

// Numbers and lists in messages.

namespace latent {

/// "46.3 MiB", "812 MiB", rounded down.
std::string mebibytes(uint64_t bytes);

/// "0.75", "999", "1e+06": six digits, without trailing zeros.
std::string number_text(double value);

/// "[320, 4, 3, 3]".
std::string shape_text(const std::vector<int64_t> & shape);

/// "a", "a and b", "a, b and c".
std::string enumerated(const std::vector<std::string> & items);

/// At most `most` entries, then how many more there are: "a, b and 3 more".
std::string first_of(const std::vector<std::string> & items, size_t most = 8);

}  // namespace latent
