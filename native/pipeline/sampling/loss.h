#pragma once

#include <vector>

#include "pipeline/memory/memory_planner.h"

namespace latent::pipeline {

/// Pipeline::loss(): LatentDiffusion.p_losses of ddpm.py, with the l2 loss of the paper's Eq. 1-3.
std::vector<double> denoising_loss(Stages & stages, const MemoryPlanner & planner, const ImageTensor & image,
                                   const LossRequest & request, const JobContext & job);

}  // namespace latent::pipeline
