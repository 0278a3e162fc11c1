#pragma once

#include "samplers/setup.h"

// One factory per sampler name; the table is in registry.cpp.

namespace latent::samplers {

std::unique_ptr<Solver> make_euler(Setup & setup);
std::unique_ptr<Solver> make_euler_a(Setup & setup);
std::unique_ptr<Solver> make_heun(Setup & setup);
std::unique_ptr<Solver> make_dpm2(Setup & setup);
std::unique_ptr<Solver> make_dpm2_a(Setup & setup);
std::unique_ptr<Solver> make_lms(Setup & setup);
std::unique_ptr<Solver> make_dpmpp_2s_a(Setup & setup);
std::unique_ptr<Solver> make_dpmpp_sde(Setup & setup);
std::unique_ptr<Solver> make_dpmpp_2m(Setup & setup);
std::unique_ptr<Solver> make_dpmpp_2m_sde(Setup & setup);
std::unique_ptr<Solver> make_dpmpp_3m_sde(Setup & setup);
std::unique_ptr<Solver> make_dpm_fast(Setup & setup);
std::unique_ptr<Solver> make_dpm_adaptive(Setup & setup);
std::unique_ptr<Solver> make_ddim(Setup & setup);
std::unique_ptr<Solver> make_ddim_inverse(Setup & setup);
std::unique_ptr<Solver> make_ddpm(Setup & setup);
std::unique_ptr<Solver> make_plms(Setup & setup);
std::unique_ptr<Solver> make_lcm(Setup & setup);
std::unique_ptr<Solver> make_tcd(Setup & setup);
std::unique_ptr<Solver> make_dpm_solver(Setup & setup);
std::unique_ptr<Solver> make_dpm_solver_single(Setup & setup);
std::unique_ptr<Solver> make_unipc(Setup & setup);
std::unique_ptr<Solver> make_deis(Setup & setup);
std::unique_ptr<Solver> make_sa_solver(Setup & setup);

}  // namespace latent::samplers
