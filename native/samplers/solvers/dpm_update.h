#pragma once

#include "samplers/vp_solver.h"

namespace latent::samplers {

/// A converted network output and its lambda.
struct DpmPoint {
    double lambda;
    const std::vector<float> * value;
};

/// The update formulas of DPM-Solver (Lu et al. 2022a) and DPM-Solver++ (2022b), ordinary and SDE, orders 1 to 3.
/// Each is the exact solution of the exponential part plus weighted finite differences of the outputs.
class DpmUpdate {
public:
    DpmUpdate(bool plus_plus, bool sde, bool heun) : plus_plus_(plus_plus), sde_(sde), heun_(heun) {}
    bool predicts_x0() const { return plus_plus_; }
    bool stochastic() const { return sde_; }

    /// Moves x from `from` to `to`; points are newest first, and the newest lies at `from`.
    void multistep(Span<float> x, Level from, Level to, const std::vector<DpmPoint> & points,
                   const std::vector<float> * noise) const;
    /// Moves x from the start `from` of the group; points are newest first, and the oldest lies at `from`.
    void singlestep(Span<float> x, Level from, Level to, const std::vector<DpmPoint> & points,
                    const std::vector<float> * noise) const;

private:
    /// Coefficients for x, the leading output, and its first and second differences.
    struct Weights {
        double x, d0, midpoint, first, second, noise;
    };
    Weights weights(Level from, Level to, double h) const;
    bool plus_plus_, sde_, heun_;
};

}  // namespace latent::samplers
