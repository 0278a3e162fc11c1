#pragma once

#include <string>

namespace latent::samplers {

/// Which part of a schedule image to image runs.
struct StartRule {
    int schedule_steps = 0;  // steps that the schedule is made with
    int first = 0;           // first step that is run; negative counts from the end of the schedule's noise levels, as in Python
    int t_enc = 0;           // the reference's own number
};

/// diffusers get_timesteps: the last int(steps * strength) steps.
StartRule diffusers_start(int steps, double strength);
/// CompVis img2img.py: encodes to index t_enc = int(strength * steps), then decodes t_enc steps.
StartRule compvis_start(int steps, double strength);
/// Web UI: t_enc + 1 steps with t_enc = int(min(strength, 0.999) * steps).
StartRule webui_start(int steps, double strength);
/// Web UI with "do exactly the number of steps": a longer schedule of which `steps` are run.
StartRule webui_fixed_start(int steps, double strength);
/// ComfyUI: a schedule of int(steps / strength) of which the last `steps` are run; schedule_steps 0 when nothing is.
StartRule comfy_start(int steps, double strength);

/// By name: diffusers, compvis, webui, webui_fixed, comfy. Throws invalid_argument when no step would be run.
StartRule find_start(const std::string & rule, int steps, double strength);

}  // namespace latent::samplers
