#include <cstdlib>

#include "graph/cuda/cuda_library.h"
#include "pipeline/golden_adapter.h"

// Adapters on the CUDA home, next to their references: whole pipelines on the device.

using namespace loaded;

namespace {

constexpr double kAdapterBound = 3e-2;  // fast mode in bfloat16, of the largest value

LoadRequest on_cuda() {
    if (!std::getenv("LATENT_CUDA_LIBRARY")) graph::set_cuda_library(LATENT_CUDA_HOST);
    LoadRequest request;
    request.device = "cuda";
    request.threads = 1;
    return request;
}

double largest(const std::vector<float> & values) {
    double most = 0;
    for (const float value : values) most = std::fmax(most, std::fabs(value));
    return most;
}

/// The network with an adapter is as close to its reference as without one, and the adapter matters.
void check_adapted(const Loaded & model, const char * name, const char * layout, double strength, const char * eps,
                   double factor = 1) {
    const Adapter adapter(name, layout);
    const bool has_context = adapter.golden.json.at("inputs").contains("context");
    const Conditioning text = context_of(has_context ? adapter.input("context") : adapter.expected("text_context"));
    const std::vector<float> expected = adapter.expected(eps).data;
    const double bound = kAdapterBound * factor * largest(expected);
    model->set_adapters({}, {});
    CHECK(difference(predicted(model, adapter, text), expected) > 1.5 * bound);
    const Json report = model->set_adapters(adapter.at(strength), {});
    CHECK(report[0]["unmatched"].empty() && report[0]["skipped"].empty());
    within(std::string(name) + " " + eps, difference(predicted(model, adapter, text), expected), bound);
}

}  // namespace

TEST(adapters_on_quantised_weights) {
    LoadRequest request = on_cuda();
    request.dtype["unet"] = "q8_0";
    const Loaded model("sd1", request);
    check_adapted(model, "lora-locon", "kohya", 0.8, "eps", 1.5);  // with the rounding of the model's own weights
}

TEST(adapters_of_low_rank) {
    const Loaded model("sd1", on_cuda());
    check_adapted(model, "lora-kohya", "kohya", 0.8, "eps");
    check_adapted(model, "lora-locon", "kohya", 0.8, "eps");  // with convolutions of 3x3
    check_adapted(model, "lora-loha", "kohya", 0.8, "eps");
    check_adapted(model, "lora-lokr", "kohya", 0.8, "eps",
                  1.5);  // 4.5e-2 is the rounding of the network alone
}

TEST(adapters_that_replace_weights) {
    const Loaded model("sd1", on_cuda());
    check_adapted(model, "dora", "kohya", 1, "eps_1");
    check_adapted(model, "oft-lycoris", "kohya", 1, "eps_1");
    check_adapted(model, "norm-full", "kohya", 0.7, "eps");
}
