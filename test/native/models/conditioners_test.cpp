#include "checks.h"
#include "models/bert_text.h"
#include "models/class_embedder.h"
#include "models/spatial_rescaler.h"

// The conditioners of the paper's own models against the reference (test/fixtures/models), and what they refuse.

using namespace latent;
using golden::ModelCase;
using graph::Precision;
using graph::WeightPolicy;

namespace {

const Json & conditioner_params(const ModelCase & c) {
    return c.params().at("cond_stage_config").at("params");
}

/// BERTEmbedder in exact mode, in both homes, and with rounded weights: bounds relative to the largest value.
void check_bert(const std::string & name, const std::vector<int32_t> & ids, const golden::Tensor & expected) {
    const ModelCase c(name);
    models::BertText text(golden::bert_config(conditioner_params(c)), cpu());
    const int64_t batch = expected.shape[0], length = expected.shape[1];
    CHECK(text.dim() == expected.shape[2] && text.max_length() == length);
    std::vector<float> context(expected.data.size());
    const auto run = [&](const WeightPolicy & policy, bool fused) {
        text.weights().plan(c.weights("cond_stage_model."), policy);
        const graph::GraphMeasure planned = text.measure(batch, length);
        text.weights().load({});
        graph::Runner::Limits limits;
        limits.home = fused ? "fused" : "portable";
        text.runner().set_limits(limits);
        text.forward(ids, batch, length, 0, context, JobContext{});
        CHECK(planned.bytes > 0 && planned.flops > 1e6);
        return golden::max_difference(context, expected);
    };
    within(name + " context", run(exact, true), expected.atol);
    within(name + " context, portable", run(exact, false), expected.atol);
    within(name + " context, fast f16", run({Precision::fast, DType::f16}, true), fast_bound() * expected.max_abs);
    within(name + " context, fast q8_0", run({Precision::fast, DType::q8_0}, true), 4e-2 * expected.max_abs);
}

}  // namespace

TEST(bert_text_of_prompts) {
    for (const char * name : {"ldm-txt2img", "ldm-text2img256", "ldm-small-signal"}) {
        const ModelCase c(name);
        if (!c.has_expected("text_context")) continue;
        check_bert(name, c.input_values<int32_t>("ids"), c.expected("text_context"));
    }
}

TEST(bert_text_of_layouts) {
    const ModelCase c("ldm-layout2img");
    check_bert("ldm-layout2img", c.expected("layout_tokens").integers(), c.expected("context"));
}

TEST(bert_text_refuses) {
    const ModelCase c("ldm-text2img256");
    models::BertText text(golden::bert_config(conditioner_params(c)), cpu());
    std::vector<float> context(77 * 80);
    std::vector<int32_t> ids(77, 0);
    const auto forward = [&](int64_t batch, int64_t length, int skip) { text.forward(ids, batch, length, skip, context, {}); };
    CHECK_THROWS(forward(1, 77, 0), ErrorCode::internal);  // not loaded
    text.weights().plan(c.weights("cond_stage_model."), exact);
    text.weights().load({});
    forward(1, 77, 0);
    CHECK_THROWS(forward(1, 78, 0), ErrorCode::invalid_argument);
    CHECK_THROWS(forward(0, 77, 0), ErrorCode::invalid_argument);
    CHECK_THROWS(forward(1, 76, 0), ErrorCode::invalid_argument);
    CHECK_THROWS(forward(1, 77, 2), ErrorCode::invalid_argument);
    for (const int32_t id : {-1, 30522, 1 << 30}) {
        ids[40] = id;
        CHECK_THROWS(forward(1, 77, 0), ErrorCode::invalid_argument);
    }
    BertConfig broken = text.config();
    broken.num_heads = 0;
    CHECK_THROWS(models::BertText(broken, cpu()), ErrorCode::model_format);
    ids[40] = 0;
    const JobContext job;
    job.cancel->cancel();
    CHECK_THROWS(text.forward(ids, 1, 77, 0, context, job), ErrorCode::aborted);
}

TEST(class_embedder) {
    for (const char * name : {"ldm-cin256", "ldm-cin256-v2"}) {
        const ModelCase c(name);
        const Json & params = conditioner_params(c);
        ClassConfig config;
        config.classes = params.at("n_classes");
        config.embed_dim = params.at("embed_dim");
        models::ClassEmbedder embedder(config, cpu());
        const golden::Tensor & expected = c.expected("context");
        std::vector<float> context(expected.data.size());
        for (const WeightPolicy & policy : {exact, WeightPolicy{Precision::fast, DType::q8_0}}) {  // a table stays float32
            embedder.weights().plan(c.weights("cond_stage_model."), policy);
            embedder.weights().load({});
            embedder.forward(c.input_values<int32_t>("classes"), 2, 1, 0, context, JobContext{});
            within(std::string(name) + " context", golden::max_difference(context, expected), expected.atol);
        }
        std::vector<int32_t> outside = {0, config.classes};
        CHECK_THROWS(embedder.forward(outside, 2, 1, 0, context, JobContext{}), ErrorCode::invalid_argument);
        outside[1] = -1;
        CHECK_THROWS(embedder.forward(outside, 2, 1, 0, context, JobContext{}), ErrorCode::invalid_argument);
        CHECK_THROWS(embedder.forward(outside, 1, 2, 0, context, JobContext{}), ErrorCode::invalid_argument);
        CHECK(embedder.measure(2, 1).bytes > 0);
    }
}

TEST(spatial_rescaler) {
    const ModelCase c("ldm-semantic");
    const Json & params = conditioner_params(c);
    RescalerConfig config;
    config.classes = params.at("in_channels");
    config.out_channels = params.at("out_channels");
    config.stages = params.at("n_stages");
    models::SpatialRescaler rescaler(config, cpu());
    const auto shape = c.shape("labels");
    const std::vector<float> labels = c.input("labels");
    const golden::Tensor & expected = c.expected("concat");
    const size_t map = static_cast<size_t>(shape[1] * shape[2]), out = expected.data.size() / 2;
    for (const WeightPolicy & policy : {exact, WeightPolicy{Precision::fast, DType::f16}}) {
        rescaler.weights().plan(c.weights("cond_stage_model."), policy);
        rescaler.weights().load({});
        std::vector<float> concat;
        for (size_t row = 0; row < 2; ++row) {
            const std::vector<int32_t> one(labels.begin() + static_cast<std::ptrdiff_t>(row * map),
                                           labels.begin() + static_cast<std::ptrdiff_t>((row + 1) * map));
            std::vector<float> result(out);
            rescaler.forward(one, shape[1], shape[2], result, JobContext{});
            concat.insert(concat.end(), result.begin(), result.end());
        }
        const bool fast = policy.precision == Precision::fast;
        within(std::string("ldm-semantic concat") + (fast ? ", fast f16" : ""), golden::max_difference(concat, expected),
               fast ? fast_bound() * expected.max_abs : expected.atol);
    }
    std::vector<float> result(3);
    const auto map_of = [&](int64_t height, int64_t width, int32_t label) {
        rescaler.forward(std::vector<int32_t>(static_cast<size_t>(height * width), label), height, width, result, JobContext{});
    };
    map_of(4, 4, 181);
    CHECK_THROWS(map_of(4, 4, 182), ErrorCode::invalid_argument);
    CHECK_THROWS(map_of(4, 4, -1), ErrorCode::invalid_argument);
    CHECK_THROWS(map_of(4, 6, 0), ErrorCode::invalid_argument);
    CHECK_THROWS(map_of(0, 4, 0), ErrorCode::invalid_argument);
    CHECK_THROWS(rescaler.measure(1 << 20, 4), ErrorCode::invalid_argument);
    CHECK(rescaler.measure(512, 512).bytes > 182 * 128 * 128 * 4);
}
