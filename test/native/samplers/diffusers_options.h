#pragma once

#include "fixtures.h"

namespace fixtures {

/// Solver options of a diffusers scheduler class and configuration, with that class's defaults.
latent::samplers::SolverOptions diffusers_options(const std::string & scheduler, const Json & config);

/// The table that the scheduler works on.
latent::samplers::NoiseTable diffusers_table(const latent::samplers::SolverOptions & options);

}  // namespace fixtures
