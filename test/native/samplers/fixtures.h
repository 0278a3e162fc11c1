#pragma once

#include <map>
#include <string>
#include <vector>

#include "check.h"
#include "core/json.h"
#include "samplers/noise_table.h"
#include "samplers/solver.h"

// Reference data under test/fixtures/procedures, the formula values and the closed-form denoiser that they were made with.

namespace fixtures {

using latent::Json;
using latent::Span;
using Values = std::vector<float>;

/// The parsed JSON file, read once.
const Json & json(const std::string & name);
/// The float32 arrays of a .safetensors file, read once.
const std::map<std::string, Values> & arrays(const std::string & name);

/// Floats may be written as "inf" and "nan".
double number(const Json & value);
std::vector<double> numbers(const Json & value);

/// Formula values (seed 0) and bytes of a key.
Values formula(const std::string & key, size_t count);
std::vector<int> formula_bytes(const std::string & key, size_t count);

constexpr size_t latent_size = 4 * 8 * 8;

/// The k-th noise of a run is the formula value of "noise:<k>".
class FormulaNoise : public latent::NoiseSource {
public:
    void normal(Span<float> out) override;
    int drawn = 0;
};

/// Mixture of four Gaussians per latent pixel, with exact posterior mean.
struct Mixture {
    bool conditional = false;
    /// x0 at a state a * x0 + b * noise.
    std::vector<double> clean(Span<const float> x, double a, double b) const;
};

/// Network output (eps, v or sample) at a level.
Values network(const Mixture & mixture, Span<const float> x, double a, double b, latent::Prediction prediction);

/// Raw output at a timestep of the table, guided where the case has a guidance_scale.
Values guided_network(const Json & test, const latent::samplers::NoiseTable & table, double timestep, Span<const float> x,
                      latent::Prediction prediction);
/// Guided denoised in sigma space.
Values guided_denoised(const Json & test, double sigma, Span<const float> x);

latent::Prediction prediction(const Json & test);

/// Compares trajectories point by point by the rule of the files; counts and reports one failure per case.
class Trajectory {
public:
    Trajectory(const std::string & file, const Json & test);
    void add(Span<const float> x) { points_.insert(points_.end(), x.begin(), x.end()); }
    /// True when all points agree.
    bool check() const;

private:
    std::string id_;
    double tolerance_;
    const Values & expected_;
    Values points_;
};

/// Runs `body` for every case except those of the list, and reports the counts.
template <typename Cases, typename Body>
void for_cases(const char * what, const Cases & cases, const std::map<std::string, std::string> & excluded, Body body) {
    int passed = 0, skipped = 0, failed = 0;
    for (const Json & test : cases) {
        const std::string id = test.at("id");
        if (excluded.count(id)) {
            ++skipped;
            continue;
        }
        bool ok = false;
        try {
            ok = body(test);
        } catch (const std::exception & e) {
            check::fail(what, 0, id + ": " + e.what());
        }
        (ok ? passed : failed)++;
        if (!ok) check::fail(what, 0, id);
    }
    std::printf("    %s: %d cases agree, %d differ, %d excluded\n", what, passed, failed, skipped);
    if (skipped != static_cast<int>(excluded.size())) check::fail(what, 0, "the exclusion list names cases that do not exist");
    if (passed == 0) check::fail(what, 0, "no case was run");
}

}  // namespace fixtures
