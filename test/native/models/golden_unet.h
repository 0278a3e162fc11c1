#pragma once

#include "checks.h"
#include "models/unet.h"

/// The U-Net of the golden case sd1 and its inputs, on a device.
struct GoldenUNet {
    golden::ModelCase c{"sd1"};
    latent::models::UNet unet;
    std::vector<float> x = c.input("x"), context = c.input("context");
    std::vector<double> timesteps = c.input_values<double>("t");
    std::vector<float> out;
    latent::models::DenoisingInput input;

    explicit GoldenUNet(const latent::graph::DevicePtr & device)
        : unet(golden::unet_config(c.params().at("unet_config").at("params")), device) {
        const auto shape = c.shape("x");
        out.resize(x.size());
        input.shape = {shape[0], shape[2], shape[3], 77};
        input.x = x, input.context = context, input.timesteps = timesteps;
    }
    void load(const latent::graph::WeightPolicy & weights) {
        unet.weights().plan(c.weights("model.diffusion_model."), weights);
        unet.weights().load({});
    }
    double difference() {
        unet.forward(input, out, {});
        return golden::max_difference(out, c.expected("eps"));
    }
};
