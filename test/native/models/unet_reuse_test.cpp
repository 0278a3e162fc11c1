#include <algorithm>
#include <cmath>

#include "checks.h"
#include "models/unet.h"

// What a U-Net call may take over from earlier ones: the keys and values of the context, the features of the inner blocks.

using namespace latent;
using golden::ModelCase;
using models::UNet;

namespace {

const std::string unet_names = "model.diffusion_model.";

std::vector<float> numbers(const std::string & key, int64_t count) {
    const std::vector<double> values = golden::uniform(key, 7, static_cast<size_t>(count));
    return {values.begin(), values.end()};
}

double difference(const std::vector<float> & a, const std::vector<float> & b) {
    double worst = a.size() == b.size() ? 0 : INFINITY;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
        worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    return worst;
}

}  // namespace

// Features of a call serve it as if everything were computed: whatever the branch, the blocks, the size.
TEST(kept_features_stand_for_the_inner_blocks) {
    for (const char * name : {"sd1", "ldm-churches", "ldm-uncond"}) {
        const ModelCase c(name);
        UNet unet(golden::unet_config(c.params().at("unet_config").at("params")), cpu());
        unet.weights().plan(c.weights(unet_names), exact);
        unet.weights().load({});
        const bool text = std::string(name) == "sd1";
        for (const auto & [h, w] : {std::pair<int64_t, int64_t>{8, 16}, {7, 9}}) {
            if (h % unet.config().size_multiple() != 0) continue;
            models::DenoisingInput input;
            const std::vector<float> x = numbers("x", 2 * unet.config().in_channels * h * w),
                                     context = text ? numbers("context", 77 * 32) : std::vector<float>{};
            const std::vector<double> early = {700}, late = {650};
            input.shape = {2, h, w, text ? 77 : 0};
            input.x = x, input.timesteps = early, input.context = context;
            std::vector<float> whole(static_cast<size_t>(2 * unet.config().out_channels * h * w)), out = whole,
                                                                                                   whole_late = whole;
            unet.forward(input, whole, {});
            input.timesteps = late;
            unet.forward(input, whole_late, {});
            CHECK(unet.deepest_branch() >= 4);
            for (int branch = 0; branch <= unet.deepest_branch(); ++branch) {
                models::DenoisingFeatures features;
                features.branch = branch;
                input.features = &features, input.timesteps = early;
                unet.forward(input, out, {});
                CHECK(difference(out, whole) <= 1e-6 && features.holds(input.shape));
                CHECK(features.data->bytes() == unet.feature_bytes(input.shape, branch));
                const std::vector<float> kept = features.data->numbers();
                unet.forward(input, out, {});
                CHECK(difference(out, whole) <= 2e-6 && features.data->numbers() == kept);
                // Another timestep with old features: near, and not the same, unless the inner blocks matter to nobody.
                input.timesteps = late;
                unet.forward(input, out, {});
                CHECK(difference(out, whole_late) > 1e-6);
                features.data = graph::save_on_host(std::vector<float>(kept.size(), 0.0f));
                unet.forward(input, out, {});
                CHECK(difference(out, whole_late) > 1e-4);
            }
            // The two graphs and the features keep to what was measured.
            models::DenoisingFeatures features;
            features.branch = 1;
            input.features = &features;
            unet.runner().clear();
            unet.forward(input, out, {});
            unet.forward(input, out, {});
            const uint64_t held = unet.runner().bytes() + features.data->bytes();
            CHECK(held <= unet.measure(input.shape, 1).bytes && unet.runner().bytes() > unet.measure(input.shape).bytes / 2);

            features.branch = unet.deepest_branch() + 1;
            input.features = &features;
            CHECK_THROWS(unet.forward(input, out, {}), ErrorCode::invalid_argument);
            features.branch = 0;  // those of another size do not count
            unet.forward(input, out, {});
            features.shape.width *= 2;
            CHECK(!features.holds(input.shape));
        }
    }
}

TEST(keys_and_values_follow_the_context) {
    const ModelCase c("sd1");
    UNet unet(golden::unet_config(c.params().at("unet_config").at("params")), cpu());
    unet.weights().plan(c.weights(unet_names), exact);
    unet.weights().load({});
    const std::vector<float> x = c.input("x");
    const std::vector<double> timesteps = c.input_values<double>("t");
    const auto shape = c.shape("x");
    const auto of = [&](const std::vector<float> & context) {
        models::DenoisingInput input;
        input.shape = {shape[0], shape[2], shape[3], 77};
        input.x = x, input.timesteps = timesteps, input.context = context;
        std::vector<float> out(x.size());
        unet.forward(input, out, {});
        return out;
    };
    const std::vector<float> a = c.input("context");
    std::vector<float> b = a;
    for (float & value : b) value = -value;
    const auto of_a = of(a), of_b = of(b);
    CHECK(difference(of_a, of_b) > 1e-3);
    CHECK(of(a) == of_a && of(b) == of_b);  // and back again
    b[5] += 1.0f;                           // one number is enough
    CHECK(of(b) != of_b);
    unet.weights().unload();
    unet.weights().load({});
    CHECK(of(a) == of_a);
}
