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

Conditioning text_of(const Adapter & adapter) {
    const bool has_context = adapter.golden.json.at("inputs").contains("context");
    return context_of(has_context ? adapter.input("context") : adapter.expected("text_context"));
}

/// The network with an adapter is as close to its reference as without one, and the adapter matters.
void check_adapted(const Loaded & model, const char * name, const char * layout, double strength, const char * eps,
                   double factor = 1) {
    const Adapter adapter(name, layout);
    const Conditioning text = text_of(adapter);
    const std::vector<float> expected = adapter.expected(eps).data;
    const double bound = kAdapterBound * factor * largest(expected);
    model->set_adapters({}, {});
    CHECK(difference(predicted(model, adapter, text), expected) > 1.5 * bound);
    const Json report = model->set_adapters(adapter.at(strength), {});
    CHECK(report[0]["unmatched"].empty() && report[0]["skipped"].empty());
    within(std::string(name) + " " + eps, difference(predicted(model, adapter, text), expected), bound);
}

}  // namespace

/// Whether the network computes such an operation with the adapter, by the profile's labels.
bool computes(const Loaded & model, const char * name, const std::string & operation) {
    const Adapter adapter(name);
    model->set_adapters(adapter.at(1), {});
    (void)model->profile(true);
    (void)predicted(model, adapter, text_of(adapter));
    for (const Json & row : model->profile(false)) {
        if (row["operation"].get<std::string>().rfind(operation + " ", 0) == 0) return true;
    }
    return false;
}

TEST(adapters_are_computed_beside_the_weights) {
    const Loaded model("sd1", on_cuda());
    CHECK(computes(model, "boft", "blocks") && computes(model, "oft-lycoris", "blocks"));
    CHECK(computes(model, "ia3", "scale") && computes(model, "lora-lokr", "mix"));
    CHECK(!computes(model, "dora", "mix") && !computes(model, "norm-full", "scale"));
}

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

TEST(adapters_that_scale_and_rotate) {
    const Loaded model("sd1", on_cuda());
    check_adapted(model, "dora", "kohya", 1, "eps_1");
    check_adapted(model, "dora-peft", "peft", 1, "eps_1");
    check_adapted(model, "ia3", "kohya", 1, "eps_1");
    check_adapted(model, "oft-lycoris", "kohya", 1, "eps_1");
    check_adapted(model, "boft", "kohya", 1, "eps_1");
}

TEST(adapters_that_replace_weights) {
    const Loaded model("sd1", on_cuda());
    check_adapted(model, "norm-full", "kohya", 0.7, "eps");
}
