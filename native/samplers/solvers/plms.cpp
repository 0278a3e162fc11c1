#include <cmath>
#include <deque>

#include "samplers/solvers/factories.h"
#include "samplers/vp_solver.h"

namespace latent::samplers {

namespace {

// Pseudo linear multistep, Liu et al. 2022, as a list of moves: an evaluation at `timestep`, a combination of network outputs,
// and a noise-free DDIM move between two levels. CompVis plms.py and diffusers PNDMScheduler (with and without its Runge-Kutta
// start) are different lists.
enum class Combine {
    euler,      // the output itself; the state is kept for the second half of the first step
    average,    // mean of this output and the previous one, from the kept state
    multistep,  // Adams-Bashforth of up to four outputs
    rk_first,   // Runge-Kutta stages: accumulate 1/6, 1/3, 1/3, 1/6
    rk_second,
    rk_third,
    rk_fourth,
};

struct Move {
    int timestep;
    Combine combine;
    double abar, abar_next;  // levels of the move, which may differ from the evaluation's
    int step;
    bool ends_step;
};

class PlmsSolver : public Cloneable<PlmsSolver, VpSolver> {
public:
    PlmsSolver(const SolverOptions & options, const NoiseTable & table, const std::vector<Move> & moves, bool raw_history)
        : Cloneable(options, Clip()), moves_(moves), raw_history_(raw_history) {
        for (const Move & move : moves) {
            if (move.abar <= 0) refuse_zero_snr(options.sampler);  // every prediction is divided by the level
            add_evaluation(move.timestep, Level::from_abar(table.abar(move.timestep)), move.step, move.ends_step);
        }
        set_sigmas(Level::from_abar(moves.back().abar_next));
    }

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource &) override {
        std::vector<float> now(output.begin(), output.end());
        if (!raw_history_) {
            estimate(i, output, x);
            now = eps_;
        }
        const Move & move = moves_[i];
        combine(move.combine, now, x);
        // diffusers combines raw outputs and converts the combination with the state and level at which the move starts.
        const Level level = Level::from_abar(move.abar), next = Level::from_abar(move.abar_next);
        for (size_t j = 0; j < x.size(); ++j) {
            double eps = now[j];
            if (raw_history_ && prediction_ == Prediction::v) eps = level.alpha * now[j] + level.sigma * x[j];
            if (raw_history_ && prediction_ == Prediction::sample) eps = (x[j] - level.alpha * now[j]) / level.sigma;
            x[j] = static_cast<float>(next.alpha * ((x[j] - level.sigma * eps) / level.alpha) + next.sigma * eps);
        }
    }

private:
    using Values = std::vector<float>;

    // Puts the combined output in `now`, and the state to move from in x.
    void combine(Combine kind, Values & now, Span<float> x) {
        const auto restore = [&] { std::copy(kept_.begin(), kept_.end(), x.begin()); };
        const auto accumulate = [&](double weight) {
            for (size_t j = 0; j < now.size(); ++j) sum_[j] = static_cast<float>(sum_[j] + weight * now[j]);
        };
        switch (kind) {
            case Combine::euler:
                kept_.assign(x.begin(), x.end());
                remember(now);
                break;
            case Combine::average:
                for (size_t j = 0; j < now.size(); ++j)
                    now[j] = static_cast<float>((static_cast<double>(now[j]) + history_[0][j]) / 2);
                restore();
                break;
            case Combine::multistep:
                remember(now);
                adams_bashforth(now);
                break;
            case Combine::rk_first:
                kept_.assign(x.begin(), x.end());
                sum_.assign(now.size(), 0);
                accumulate(1.0 / 6);
                remember(now);
                break;
            case Combine::rk_second:
            case Combine::rk_third:
                accumulate(1.0 / 3);
                restore();
                break;
            case Combine::rk_fourth:
                accumulate(1.0 / 6);
                now = sum_;
                restore();
                break;
        }
    }

    void remember(const Values & now) {
        history_.push_front(now);
        if (history_.size() > 4) history_.pop_back();
    }

    void adams_bashforth(Values & now) const {
        static const double weights[4][4] = {{1, 0, 0, 0},
                                             {3.0 / 2, -1.0 / 2, 0, 0},
                                             {23.0 / 12, -16.0 / 12, 5.0 / 12, 0},
                                             {55.0 / 24, -59.0 / 24, 37.0 / 24, -9.0 / 24}};
        const double * w = weights[history_.size() - 1];
        for (size_t j = 0; j < now.size(); ++j) {
            double sum = 0;
            for (size_t k = 0; k < history_.size(); ++k) sum += w[k] * history_[k][j];
            now[j] = static_cast<float>(sum);
        }
    }

    std::vector<Move> moves_;
    bool raw_history_;
    std::deque<Values> history_;  // newest first
    Values kept_, sum_;
};

std::vector<Move> compvis_moves(const NoiseTable & table, const std::vector<int> & timesteps) {
    std::vector<Move> moves;
    const size_t n = timesteps.size();
    for (size_t k = 0; k < n; ++k) {
        const double abar = table.abar(timesteps[k]), next = k + 1 < n ? table.abar(timesteps[k + 1]) : table.abar(0);
        const int step = static_cast<int>(k);
        if (k > 0) {
            moves.push_back({timesteps[k], Combine::multistep, abar, next, step, true});
            continue;
        }
        moves.push_back({timesteps[0], Combine::euler, abar, next, 0, false});
        moves.push_back({n > 1 ? timesteps[1] : timesteps[0], Combine::average, abar, next, 0, true});
    }
    return moves;
}

// diffusers visits the second timestep twice and finds the neighbours of a timestep by its stride.
std::vector<Move> plms_moves(const NoiseTable & table, const std::vector<int> & visited, int stride, double last) {
    const auto abar = [&](int t) { return t >= 0 ? table.abar(std::min(t, table.timesteps() - 1)) : last; };
    std::vector<Move> moves;
    for (size_t k = 0; k < visited.size(); ++k) {
        const int t = visited[k];
        const Combine kind = k == 0 ? Combine::euler : k == 1 ? Combine::average : Combine::multistep;
        const int step = static_cast<int>(k == 0 ? 0 : k - 1);
        if (k == 1)
            moves.push_back({t, kind, abar(t + stride), abar(t), step, true});
        else
            moves.push_back({t, kind, abar(t), abar(t - stride), step, k > 0 || visited.size() == 1});
    }
    return moves;
}

std::vector<Move> prk_moves(const NoiseTable & table, const std::vector<int> & timesteps, int stride, double last) {
    const auto abar = [&](int t) { return t >= 0 ? table.abar(t) : last; };
    const Combine stages[4] = {Combine::rk_first, Combine::rk_second, Combine::rk_third, Combine::rk_fourth};
    std::vector<Move> moves;
    for (int k = 0; k < 3; ++k) {
        const int from = timesteps[k], to = timesteps[k + 1], half = stride / 2;
        const int at[4] = {from, to + half, to + half, to}, target[4] = {from - half, to + half, to, to};
        for (int s = 0; s < 4; ++s) moves.push_back({at[s], stages[s], abar(from), abar(target[s]), k, s == 3});
    }
    for (size_t k = 3; k < timesteps.size(); ++k)
        moves.push_back(
            {timesteps[k], Combine::multistep, abar(timesteps[k]), abar(timesteps[k] - stride), static_cast<int>(k), true});
    return moves;
}

}  // namespace

std::unique_ptr<Solver> make_plms(Setup & setup) {
    const SolverOptions & options = setup.options;
    const bool diffusers = setup.is("diffusers");
    if (options.eta > 0) throw Error(ErrorCode::invalid_argument, "plms is deterministic: eta must be 0");
    const NoiseTable table = make_noise_table(options.noise_schedule,
                                              diffusers ? TableArithmetic::float32 : TableArithmetic::float64, TerminalSnr::zero);
    const StartRule start = setup.start();
    int stride = 0;
    std::vector<int> timesteps = whole_timesteps(setup, table, start.schedule_steps, stride);
    const size_t whole = timesteps.size();
    const size_t first =
        options.image_to_image ? whole - std::min<size_t>(static_cast<size_t>(start.schedule_steps - start.first), whole) : 0;
    if (!diffusers || stride == 0) {
        timesteps.erase(timesteps.begin(), timesteps.begin() + static_cast<ptrdiff_t>(first));
        return std::make_unique<PlmsSolver>(options, table, compvis_moves(table, timesteps), false);
    }
    const double last = setup.parameters.flag("set_alpha_to_one", false) ? 1 : table.abar(0);
    const bool runge_kutta = !setup.parameters.flag("skip_prk_steps", true);
    if (runge_kutta) {
        if (timesteps.size() < 4 || first > 0)
            throw Error(ErrorCode::invalid_argument,
                        "plms with Runge-Kutta steps needs at least 4 steps and cannot start inside the schedule");
        return std::make_unique<PlmsSolver>(options, table, prk_moves(table, timesteps, stride, last), true);
    }
    if (timesteps.size() > 1) timesteps.insert(timesteps.begin() + 1, timesteps[1]);
    timesteps.erase(timesteps.begin(), timesteps.begin() + static_cast<ptrdiff_t>(first));
    return std::make_unique<PlmsSolver>(options, table, plms_moves(table, timesteps, stride, last), true);
}

}  // namespace latent::samplers
