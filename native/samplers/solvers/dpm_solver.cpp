#include <algorithm>
#include <cmath>

#include "samplers/dpm_plan.h"
#include "samplers/solvers/dpm_update.h"
#include "samplers/solvers/factories.h"

namespace latent::samplers {

namespace {

// DPM-Solver (Lu et al. 2022a), DPM-Solver++ (2022b) and their SDE forms, multistep: diffusers DPMSolverMultistepScheduler and,
// on a grid of its own, CompVis dpm_solver.
class DpmMultistepSolver : public Cloneable<DpmMultistepSolver, DpmFamilySolver> {
public:
    struct Settings {
        DpmUpdate update;
        size_t order = 2;
        bool lower_order_final = true, euler_at_final = false;
    };

    DpmMultistepSolver(const SolverOptions & options, const DpmPlan & plan, const Clip & clip, const Settings & settings)
        : Cloneable(options, plan, clip, settings.update.predicts_x0()), settings_(settings) {}

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource & source) override {
        if (stays(i)) return;
        convert(i, output, x, settings_.order);
        const size_t k = index(i), order = std::min(order_at(k), history_.size());
        std::vector<DpmPoint> points;
        for (size_t j = 0; j < order; ++j) points.push_back({plan_.levels[k - j].lambda(), &history_[j]});
        const std::vector<float> * noise = settings_.update.stochastic() ? &draw(source, x.size()) : nullptr;
        settings_.update.multistep(x, plan_.levels[k], plan_.levels[k + 1], points, noise);
    }

private:
    size_t order_at(size_t k) const {
        const size_t n = plan_.steps();
        const bool shorten = settings_.lower_order_final && n < 15;
        if (k + 1 == n && (shorten || settings_.euler_at_final || plan_.levels.back().sigma == 0)) return 1;
        if (k + 2 == n && shorten) return std::min<size_t>(settings_.order, 2);
        return settings_.order;
    }

    Settings settings_;
};

// The same family, singlestep: the orders of consecutive steps are 1, 2 (, 3), and each group moves from its first state
// (diffusers DPMSolverSinglestepScheduler).
class DpmSinglestepSolver : public Cloneable<DpmSinglestepSolver, DpmFamilySolver> {
public:
    DpmSinglestepSolver(const SolverOptions & options, const DpmPlan & plan, const Clip & clip, const DpmUpdate & update,
                        std::vector<size_t> orders)
        : Cloneable(options, plan, clip, update.predicts_x0()), update_(update), orders_(std::move(orders)) {}

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource & source) override {
        convert(i, output, x, 3);
        const size_t k = index(i), order = std::min(orders_[k], history_.size());
        if (order == 1) group_.assign(x.begin(), x.end());
        std::copy(group_.begin(), group_.end(), x.begin());
        std::vector<DpmPoint> points;
        for (size_t j = 0; j < order; ++j) points.push_back({plan_.levels[k - j].lambda(), &history_[j]});
        const std::vector<float> * noise = update_.stochastic() ? &draw(source, x.size()) : nullptr;
        update_.singlestep(x, plan_.levels[k + 1 - order], plan_.levels[k + 1], points, noise);
    }

private:
    DpmUpdate update_;
    std::vector<size_t> orders_;  // per step of the whole schedule
    std::vector<float> group_;    // the state at the start of the group
};

std::vector<size_t> singlestep_orders(size_t steps, size_t order, bool lower_order_final, bool to_zero) {
    std::vector<size_t> orders;
    while (orders.size() < steps)
        for (size_t o = 1; o <= order && orders.size() < steps; ++o) orders.push_back(o);
    // If all groups are complete, the last step has first order only if requested; a step to sigma 0 always has first order.
    if (lower_order_final && order > 1 && steps % order == 0) orders.back() = 1;
    if (to_zero) orders.back() = 1;
    return orders;
}

DpmUpdate read_update(Setup & setup, const char * algorithm) {
    const std::string kind =
        setup.parameters.choice("algorithm_type", algorithm, {"dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"});
    const bool heun = setup.parameters.choice("solver_type", "midpoint", {"midpoint", "heun"}) == "heun";
    return DpmUpdate(kind == "dpmsolver++" || kind == "sde-dpmsolver++", kind == "sde-dpmsolver" || kind == "sde-dpmsolver++",
                     heun);
}

}  // namespace

std::unique_ptr<Solver> make_dpm_solver(Setup & setup) {
    const bool sde = setup.options.sampler == "dpmpp_2m_sde";
    DpmMultistepSolver::Settings settings{read_update(setup, sde ? "sde-dpmsolver++" : "dpmsolver++")};
    settings.order = static_cast<size_t>(setup.parameters.integer("solver_order", 2, 1, 3));
    settings.lower_order_final = setup.parameters.flag("lower_order_final", true);
    settings.euler_at_final = setup.parameters.flag("euler_at_final", false);
    const DpmPlan plan = setup.is("compvis") ? plan_compvis_dpm(setup)
                                             : plan_dpm(setup, settings.update.predicts_x0(), settings.update.predicts_x0());
    return std::make_unique<DpmMultistepSolver>(setup.options, plan, Clip::read(setup.parameters), settings);
}

std::unique_ptr<Solver> make_dpm_solver_single(Setup & setup) {
    const DpmUpdate update = read_update(setup, "dpmsolver++");
    const auto order = static_cast<size_t>(setup.parameters.integer("solver_order", 2, 1, 3));
    const bool lower_order_final = setup.parameters.flag("lower_order_final", false);
    const DpmPlan plan = plan_dpm(setup, update.predicts_x0(), update.predicts_x0());
    if (update.stochastic() && order == 3)
        throw Error(ErrorCode::invalid_argument, "The SDE forms of dpm_solver_single support only orders 1 and 2");
    const bool to_zero = plan.levels.back().sigma == 0;
    return std::make_unique<DpmSinglestepSolver>(setup.options, plan, Clip::read(setup.parameters), update,
                                                 singlestep_orders(plan.steps(), order, lower_order_final, to_zero));
}

}  // namespace latent::samplers
