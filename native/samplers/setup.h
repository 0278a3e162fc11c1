#pragma once

#include <memory>
#include <string>
#include <vector>

#include "samplers/noise_table.h"
#include "samplers/parameters.h"
#include "samplers/solver.h"
#include "samplers/start_rules.h"

// Shared by all factories: resolved names, the parameter reader, and the timestep grids of diffusers and CompVis.

namespace latent::samplers {

struct Setup {
    const SolverOptions & options;
    std::string dialect;   // resolved: k, comfy, diffusers, compvis, sgm
    std::string schedule;  // resolved, never empty
    Parameters & parameters;

    bool is(const char * name) const { return dialect == name; }
    /// The part of the schedule to run; all of it for text to image. Reads "start_rule".
    StartRule start() const;
};

using Factory = std::unique_ptr<Solver> (*)(Setup & setup);

/// diffusers' three spacings over `train` timesteps: `steps` of them, descending. `leading` adds `offset`. Values are integers
/// except for linspace.
std::vector<double> spaced_timesteps(const std::string & spacing, int steps, int train, int offset);
/// The spacings of DPM-Solver, UniPC and DEIS, which compute one extra point and drop it.
std::vector<double> dpm_spaced_timesteps(const std::string & spacing, int steps, int train, int offset);
/// CompVis make_ddim_timesteps, ascending: uniform (stride train / steps, plus 1) or quad.
std::vector<int> compvis_timesteps(bool quad, int steps, int train);
/// Published Align-Your-Steps timesteps (ten), for SD 1.x or SDXL.
std::vector<double> ays_timesteps(bool sdxl);

/// Timestep list of the solvers that work on integer timesteps (DDIM, DDPM, PNDM), descending, for setup.schedule or custom
/// timesteps or sigmas. Levels that share a timestep are moved to neighbouring ones, so that there are as many steps as
/// requested. `stride` is set to train / steps if the reference finds the previous timestep by subtraction, else 0.
std::vector<int> whole_timesteps(Setup & setup, const NoiseTable & table, int steps, int & stride);

/// Drops levels that are not below the previous one (rounding causes repeats in long schedules), with their timesteps; a final
/// level without a timestep stays. Multistep solvers divide by the distance between neighbours.
void drop_repeats(std::vector<double> & sigmas, std::vector<double> & timesteps);

/// Implements clone() for all solvers by the copy constructor.
template <typename Self, typename Base>
class Cloneable : public Base {
public:
    using Base::Base;
    std::unique_ptr<Solver> clone() const override { return std::make_unique<Self>(static_cast<const Self &>(*this)); }
};

}  // namespace latent::samplers
