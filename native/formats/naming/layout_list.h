#pragma once

#include <string>
#include <utility>
#include <vector>

#include "formats/naming/canonical_layout.h"

namespace latent::formats {

/// Collects the tensors of a network, layer by layer.
class LayoutList {
public:
    std::vector<LayoutEntry> entries;

    void pair(const std::string & name, std::vector<int64_t> weight) {
        const int64_t out = weight[0];
        entries.push_back({name + ".weight", std::move(weight)});
        entries.push_back({name + ".bias", {out}});
    }
    void conv(const std::string & name, int64_t in, int64_t out, int64_t kernel) { pair(name, {out, in, kernel, kernel}); }
    void linear(const std::string & name, int64_t in, int64_t out) { pair(name, {out, in}); }
    void matrix(const std::string & name, int64_t in, int64_t out) { entries.push_back({name + ".weight", {out, in}}); }
    void norm(const std::string & name, int64_t channels) { pair(name, {channels}); }
};

}  // namespace latent::formats
