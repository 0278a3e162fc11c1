#pragma once

#include "samplers/vp_solver.h"

namespace latent::samplers {

/// Timesteps and levels of a run of DPM-Solver, UniPC or DEIS.
struct DpmPlan {
    std::vector<double> timesteps;  // of the whole schedule
    std::vector<Level> levels;      // one more than timesteps: the final level
    size_t first = 0;               // where image to image starts
    size_t steps() const { return timesteps.size(); }
};

/// `zero_final`: the schedule ends at sigma 0 unless final_sigmas_type says otherwise. `zero_allowed`: whether it may. Reads
/// diffusers' schedule parameters.
DpmPlan plan_dpm(Setup & setup, bool zero_final, bool zero_allowed);
/// CompVis dpm_solver: uniform in continuous time, ending at the first training level.
DpmPlan plan_compvis_dpm(Setup & setup);

/// Base of the multistep solvers of the DPM family: one evaluation per step at the plan's levels, and a history of converted
/// outputs.
class DpmFamilySolver : public VpSolver {
protected:
    DpmFamilySolver(const SolverOptions & options, const DpmPlan & plan, const Clip & clip, bool predict_x0);
    /// Converts the output of evaluation i to x0 or eps and prepends it to the history.
    void convert(size_t i, Span<const float> model_output, Span<const float> x, size_t keep);
    size_t index(size_t i) const { return plan_.first + i; }

    DpmPlan plan_;
    bool predict_x0_;
    std::vector<std::vector<float>> history_;  // newest first
};

}  // namespace latent::samplers
