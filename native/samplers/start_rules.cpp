#include "samplers/start_rules.h"

#include <algorithm>
#include <sstream>
#include <string>

#include "core/error.h"

namespace latent::samplers {
namespace {

/// Without the zeros that std::to_string appends.
std::string strength_text(double strength) {
    std::ostringstream text;
    text << strength;
    return text.str();
}

std::string steps_text(int steps) {
    return std::to_string(steps) + (steps == 1 ? " step" : " steps");
}

}  // namespace

StartRule diffusers_start(int steps, double strength) {
    const int run = std::min(static_cast<int>(steps * strength), steps);
    return {steps, std::max(steps - run, 0), run};
}

StartRule compvis_start(int steps, double strength) {
    const int t_enc = static_cast<int>(strength * steps);
    return {steps, steps - t_enc, t_enc};
}

StartRule webui_start(int steps, double strength) {
    const int t_enc = static_cast<int>(std::min(strength, 0.999) * steps);
    return {steps, steps - t_enc - 1, t_enc};
}

StartRule webui_fixed_start(int steps, double strength) {
    const int longer = strength > 0 ? static_cast<int>(std::min(steps / std::min(strength, 0.999), 1e6)) : 0;
    return {longer, longer - steps, steps - 1};
}

StartRule comfy_start(int steps, double strength) {
    if (strength <= 0) return {};
    const int longer = strength > 0.9999 ? steps : static_cast<int>(std::min(steps / strength, 1e6));
    return {longer, longer - steps, steps};
}

StartRule find_start(const std::string & rule, int steps, double strength) {
    StartRule start;
    if (rule == "diffusers") start = diffusers_start(steps, strength);
    if (rule == "compvis") start = compvis_start(steps, strength);
    if (rule == "webui") start = webui_start(steps, strength);
    if (rule == "webui_fixed") start = webui_fixed_start(steps, strength);
    if (rule == "comfy") start = comfy_start(steps, strength);
    if (start.schedule_steps <= 0 || start.first >= start.schedule_steps)
        throw Error(ErrorCode::invalid_argument, "strength: " + strength_text(strength) + " of " + steps_text(steps) +
                                                     " leaves no step to run; use a higher strength or more steps");
    if (start.schedule_steps > 10000)
        throw Error(ErrorCode::invalid_argument, "strength: " + strength_text(strength) + " would need a schedule of " +
                                                     steps_text(start.schedule_steps) + "; use a higher strength or fewer steps");
    start.first = std::max(start.first, 0);
    return start;
}

}  // namespace latent::samplers
