#include <cmath>
#include <cstdlib>

#include "checks.h"
#include "golden_unet.h"
#include "graph/check/device_check.h"
#include "graph/cuda/cuda_library.h"
#include "graph/home.h"
#include "models/autoencoder.h"
#include "models/clip_text.h"

// The CUDA home: the golden networks through the engine's function table. Where LATENT_CUDA_LIBRARY names a library of a real
// GPU they run there; else on the engine compiled for the host, which is slow and right.

using namespace latent;
using golden::ModelCase;
using graph::DevicePtr;
using graph::Precision;
using graph::WeightPolicy;

namespace {

constexpr double kBound = 3e-2;  // fast mode in bfloat16, of the largest value

DevicePtr gpu() {
    static const DevicePtr device = [] {
        if (!std::getenv("LATENT_CUDA_LIBRARY")) graph::set_cuda_library(LATENT_CUDA_HOST);
        return graph::Device::create("cuda");
    }();
    return device;
}

const WeightPolicy fast{Precision::fast, {}};

double relative(const std::vector<float> & a, const std::vector<float> & b) {
    double worst = 0, largest = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        worst = std::fmax(worst, std::isfinite(a[i]) ? std::fabs(a[i] - b[i]) : INFINITY);
        largest = std::fmax(largest, std::fabs(b[i]));
    }
    return worst / largest;
}

}  // namespace

TEST(devices_and_refusals) {
    const DevicePtr device = gpu();
    CHECK(device->name() == "cuda:0" && device->kind() == "cuda" && !device->shares_host_memory());
    const graph::DeviceInfo info = device->info();
    CHECK(info.driver.rfind("driver for CUDA 1", 0) == 0);
    CHECK(info.memory_total > 0 && info.memory_free > 0 && info.memory_free <= info.memory_total && info.home == "cuda");
    CHECK(graph::list_devices().front().name == "cuda:0" && graph::list_devices().back().kind == "cpu");
    CHECK(graph::Device::create("auto")->kind() == "cpu");  // a GPU is not taken by surprise
    CHECK_THROWS(graph::Device::create("cuda:99"), ErrorCode::device);
    CHECK_THROWS(device->require(uint64_t{1} << 60, "a test"), ErrorCode::out_of_memory);

    const ModelCase c("sd1");
    models::ClipText text(golden::clip_config(c.config().at("text_encoder")), device);
    CHECK_THROWS(text.weights().plan(c.weights("cond_stage_model."), exact), ErrorCode::device);
}

TEST(libraries_that_are_refused) {
    gpu();
    graph::refuse_cuda("the driver crashed");
    CHECK(graph::list_devices().front().refused == "the driver crashed" && graph::list_devices().back().kind == "cpu");
    CHECK_THROWS(graph::Device::create("cuda:0"), ErrorCode::device);
    CHECK_THROWS(graph::Device::create("cuda"), ErrorCode::device);
    CHECK(graph::Device::create("cpu")->kind() == "cpu");
    graph::refuse_cuda("");
    CHECK(graph::list_devices().front().refused.empty());
    if (std::getenv("LATENT_CUDA_LIBRARY")) return;
    for (const char * other : {"/no/such/library.so", LATENT_CUDA_NEXT}) {  // absent, and of another version
        graph::set_cuda_library(other);
        const auto found = graph::list_devices();
        CHECK(found.front().kind == "cuda" && !found.front().refused.empty() && found.back().kind == "cpu");
        CHECK_THROWS(graph::Device::create("cuda"), ErrorCode::device);
    }
    graph::set_cuda_library(LATENT_CUDA_HOST);
    CHECK(graph::list_devices().front().refused.empty());
}

TEST(checks_of_operations) {
    for (const std::string & name : graph::check_names()) {
        const graph::CheckResult result = graph::check_operation(gpu(), name, {});
        if (!result.passed()) check::fail(__FILE__, __LINE__, name + " is off by " + std::to_string(result.error));
    }
}

TEST(text_encoder) {
    const ModelCase c("sd1");
    models::ClipText text(golden::clip_config(c.config().at("text_encoder")), gpu());
    const auto ids = c.input_values<int32_t>("ids");
    const golden::Tensor & expected = c.expected("text_context");
    std::vector<float> context(expected.data.size());
    text.weights().plan(c.weights("cond_stage_model."), fast);
    text.weights().load({});
    text.forward(ids, expected.shape[0], expected.shape[1], 0, context, JobContext{});
    within("sd1 text_context", golden::max_difference(context, expected), kBound * expected.max_abs);
}

TEST(unet) {
    GoldenUNet golden_unet(gpu());
    models::UNet & unet = golden_unet.unet;
    unet.weights().plan(golden_unet.c.weights("model.diffusion_model."), fast);
    const graph::GraphMeasure planned = unet.measure(golden_unet.input.shape);
    CHECK(planned.flops > 1e6 && planned.bytes > 0 && unet.weights().mapped_bytes() == 0);
    const uint64_t free = gpu()->info().memory_free;
    unet.weights().load({});
    // A driver takes memory for many tensors at once, and may have some left.
    if (!std::getenv("LATENT_CUDA_LIBRARY")) CHECK(gpu()->info().memory_free + unet.weights().bytes() <= free);

    JobContext cancelled;
    cancelled.cancel->cancel();
    CHECK_THROWS(unet.forward(golden_unet.input, golden_unet.out, cancelled), ErrorCode::aborted);

    unet.forward(golden_unet.input, golden_unet.out, {});
    const golden::Tensor & expected = golden_unet.c.expected("eps");
    within("sd1 eps", golden::max_difference(golden_unet.out, expected), kBound * expected.max_abs);
    CHECK(unet.runner().bytes() <= planned.bytes);

    // Weights that went and came back: the old graph is stale, the numbers are the same.
    const std::vector<float> first = golden_unet.out;
    unet.weights().unload();
    CHECK_THROWS(unet.forward(golden_unet.input, golden_unet.out, {}), ErrorCode::internal);
}

#ifndef LATENT_CUDA_QUICK
TEST(unet_reuses_features_on_the_device) {
    GoldenUNet golden_unet(gpu());
    models::UNet & unet = golden_unet.unet;
    unet.weights().plan(golden_unet.c.weights("model.diffusion_model."), fast);
    unet.weights().load({});
    unet.forward(golden_unet.input, golden_unet.out, {});
    const std::vector<float> whole = golden_unet.out;
    models::DenoisingFeatures features;
    features.branch = 1;
    golden_unet.input.features = &features;
    for (int round = 0; round < 2; ++round) {
        unet.forward(golden_unet.input, golden_unet.out, {});
        CHECK_NEAR(relative(golden_unet.out, whole), 0.0, 1e-2);
    }
    CHECK(features.holds(golden_unet.input.shape) && features.data->bytes() > 0);
}
#endif

TEST(first_stage) {
    const ModelCase c("sd1");
    models::Autoencoder stage(golden::autoencoder_config(c.params().at("first_stage_config").at("params")), gpu());
    stage.weights().plan(c.weights("first_stage_model."), fast);
    stage.weights().load({});
    const golden::Tensor & expected = c.expected("decoded");
    const auto latents = c.shape("z");
    const int64_t f = stage.config().downsampling();
    std::vector<float> picture(static_cast<size_t>(latents[0] * 3 * latents[2] * f * latents[3] * f));
    stage.decode(c.input("z"), latents[0], latents[2], latents[3], picture, JobContext{});
    within("sd1 decoded", golden::max_difference(picture, expected, latents[2] * f, latents[3] * f), kBound * expected.max_abs);
}
