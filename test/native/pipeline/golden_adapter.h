#pragma once

#include <string>
#include <vector>

#include "pipeline/loaded.h"

namespace loaded {

/// An adapter of test/fixtures/models for a golden model, as a file of a layout, with its inputs and expected results.
struct Adapter {
    golden::Case golden;
    golden::TempFolder folder;
    std::string path;

    explicit Adapter(const std::string & name, const std::string & layout = "kohya") : golden(golden::load("addon-" + name)) {
        path = golden::write_layout(golden, layout, folder.path());
    }
    AdapterUses at(double weight) const { return {{path, weight, weight}}; }
    golden::Values input(const std::string & name) const { return golden::input(golden, name); }
    golden::Values expected(const std::string & name) const { return golden::expected(golden, name); }
    Latents latents(const std::string & name = "x") const {
        const golden::Values values = input(name);
        return {{1, values.shape[1], values.shape[2], values.shape[3]}, values.data};
    }
    double timestep() const { return input("t").data.front(); }
};

inline PromptTokens ids_of(const golden::Values & values) {
    PromptTokens tokens;
    tokens.chunks.push_back({{values.data.begin(), values.data.end()}, {}});
    return tokens;
}

inline Conditioning context_of(const golden::Values & values) {
    Conditioning conditioning;
    conditioning.tokens = values.shape[1], conditioning.dim = values.shape[2];
    conditioning.data = values.data;
    return conditioning;
}

inline std::vector<float> predicted(const Loaded & model, const Adapter & adapter, const Conditioning & conditioning) {
    return model->predict(adapter.latents(), {adapter.timestep()}, &conditioning, nullptr, 1.0, nullptr, {}).data;
}

}  // namespace loaded
