#include <algorithm>
#include <cstring>
#include <filesystem>

#include "core/memory.h"
#include "golden.h"
#include "kernels/common/tile.h"
#include "pipeline/golden_adapter.h"

// Adapters at run time: every naming and form against its reference, and what must hold whatever they do.

using namespace loaded;

namespace {

void check_eps(const Loaded & model, const Adapter & adapter, const Conditioning & conditioning, const char * name = "eps",
               double factor = 1) {
    const golden::Values eps = adapter.expected(name);
    within(adapter.golden.name + " " + name, difference(predicted(model, adapter, conditioning), eps.data), factor * eps.atol);
}

/// Text context through the adapted encoder, and the network with that context.
void check_both(const Loaded & model, const Adapter & adapter) {
    const golden::Values text = adapter.expected("text_context");
    const Conditioning conditioning = model->encode_prompt(ids_of(adapter.input("ids")), {});
    within(adapter.golden.name + " text_context", difference(conditioning.data, text.data), text.atol);
    check_eps(model, adapter, conditioning);
}

bool throws(ErrorCode code, const std::string & part, const std::function<void()> & action) {
    try {
        action();
    } catch (const Error & error) {
        const bool fits = error.code() == code && std::string(error.what()).find(part) != std::string::npos;
        if (!fits) std::printf("     %s: %s\n", code_name(error.code()), error.what());
        return fits;
    }
    return false;
}

}  // namespace

TEST(adapters_kohya) {
    const Loaded model("sd1");
    const Adapter adapter("lora-kohya");
    const Json report = model->set_adapters(adapter.at(0.8), {});
    CHECK(report.size() == 1 && report[0]["unmatched"].empty() && report[0]["skipped"].empty());
    CHECK(report[0]["matched"].size() > 10);
    check_both(model, adapter);
}

TEST(adapters_of_diffusers) {
    const Loaded model("sd1");
    for (const char * layout : {"peft", "diffusers"}) {
        const Adapter adapter("lora-peft", layout);
        const Json report = model->set_adapters(adapter.at(0.8), {});
        CHECK(report[0]["unmatched"].empty());
        check_both(model, adapter);
    }
    const Adapter oldest("lora-peft", "attn-processors");
    const Conditioning bare = [&] {
        model->set_adapters({}, {});
        return model->encode_prompt(ids_of(oldest.input("ids")), {});
    }();
    model->set_adapters(oldest.at(0.8), {});
    check_eps(model, oldest, bare, "eps_unet_only");
}

TEST(adapters_rank_stabilised) {
    const Loaded model("sd1");
    const Adapter adapter("lora-rslora", "peft-folder");
    const Json report = model->set_adapters(adapter.at(1), {});
    CHECK(report[0]["unmatched"].empty());
    check_eps(model, adapter, context_of(adapter.input("context")), "eps_1");
}

TEST(adapters_sdxl) {
    const Loaded model("sdxl-base");
    const Adapter adapter("lora-sdxl");
    const Json report = model->set_adapters(adapter.at(0.8), {});
    CHECK(report[0]["unmatched"].empty());
    const golden::Values context = adapter.expected("context"), pooled = adapter.expected("pooled");
    Inputs inputs;
    inputs.prompt = ids_of(adapter.input("ids_l"));
    Conditioning conditioning = model->encode_inputs(inputs, {});
    within("addon-lora-sdxl context", difference(conditioning.data, context.data), context.atol);
    const std::vector<float> head(conditioning.vector.begin(), conditioning.vector.begin() + 40);
    within("addon-lora-sdxl pooled", difference(head, pooled.data), pooled.atol);
    conditioning.vector = adapter.input("vector").data;
    check_eps(model, adapter, conditioning);
}

TEST(adapters_sdxl_in_every_naming) {
    const Loaded model("sdxl-base");
    for (const char * layout : {"sgm", "diffusers-blocks", "lycoris", "peft", "comfyui"}) {
        const Adapter adapter("lora-sdxl-names", layout);
        const Json report = model->set_adapters(adapter.at(0.8), {});
        CHECK(report[0]["unmatched"].empty() && report[0]["matched"].size() == adapter.golden.config()["layers"].size());
        Conditioning conditioning = context_of(adapter.input("context"));
        conditioning.vector = adapter.input("vector").data;
        check_eps(model, adapter, conditioning);
    }
}

TEST(adapters_locon) {
    const Loaded model("sd1");
    const Adapter adapter("lora-locon");
    const Json report = model->set_adapters(adapter.at(0.8), {});
    CHECK(report[0]["unmatched"].empty() && report[0]["skipped"].empty());
    check_both(model, adapter);
}

TEST(adapters_full_differences_and_norms) {
    const Loaded model("sd1");
    const Adapter adapter("norm-full");
    const Json report = model->set_adapters(adapter.at(adapter.golden.config().value("multiplier", 0.8)), {});
    CHECK(report[0]["unmatched"].empty() && report[0]["skipped"].empty());
    check_eps(model, adapter, context_of(adapter.input("context")));
}

TEST(adapters_loha_and_lokr) {
    const Loaded model("sd1");
    for (const char * name : {"lora-loha", "lora-lokr"}) {
        const Adapter adapter(name);
        const Json report = model->set_adapters(adapter.at(0.8), {});
        CHECK(report[0]["unmatched"].empty() && report[0]["skipped"].empty());
        check_both(model, adapter);
    }
}

TEST(adapters_two_files) {
    const Loaded model("sd1");
    const Adapter adapter("lora-stack");
    const AdapterUse first{adapter.path + "/a.safetensors", 0.7, 0}, second{adapter.path + "/b.safetensors", -0.4, 0};
    for (const AdapterUses & uses : {AdapterUses{first, second}, AdapterUses{second, first}}) {
        model->set_adapters(uses, {});
        check_eps(model, adapter, context_of(adapter.input("context")));
    }
}

TEST(adapters_of_other_forms) {
    struct Form {
        const char *name, *layout;
        std::vector<std::pair<double, const char *>> strengths;
    };
    const Form forms[] = {
        {"dora", "kohya", {{1, "eps_1"}, {0.6, "eps_0.6"}}},      {"dora-peft", "peft", {{1, "eps_1"}, {0.5, "eps_0.5"}}},
        {"glora", "kohya", {{1, "eps_1"}, {0.8, "eps_0.8"}}},     {"glora-old", "kohya", {{0.8, "eps_0.8"}}},
        {"ia3", "kohya", {{1, "eps_1"}, {0.6, "eps_0.6"}}},       {"oft-lycoris", "kohya", {{1, "eps_1"}, {0.6, "eps_0.6"}}},
        {"oft-kohya", "kohya", {{1, "eps_1"}, {0.6, "eps_0.6"}}}, {"boft", "kohya", {{1, "eps_1"}, {0.6, "eps_0.6"}}}};
    const Loaded model("sd1");
    for (const Form & form : forms) {
        const Adapter adapter(form.name, form.layout);
        const Conditioning text = context_of(adapter.input("context"));
        for (const auto & [strength, expected] : form.strengths) {
            const Json report = model->set_adapters(adapter.at(strength), {});
            CHECK(report[0]["unmatched"].empty() && report[0]["skipped"].empty());
            check_eps(model, adapter, text, expected);
        }
        model->set_adapters(adapter.at(0), {});
        if (adapter.golden.json["expected"].contains("eps_plain")) check_eps(model, adapter, text, "eps_plain");
    }
}

TEST(adapters_of_other_forms_on_quantised_weights) {
    for (const char * type : {"q8_0", "int8"}) {
        LoadRequest request = exact_request();
        request.precision = Precision::fast;
        request.dtype["unet"] = type;
        const Loaded model("sd1", request);
        for (const char * name : {"dora", "oft-lycoris", "boft", "glora", "ia3"}) {
            const Adapter adapter(name);
            const Conditioning text = context_of(adapter.input("context"));
            model->set_adapters({}, {});
            const double bare = difference(predicted(model, adapter, text), adapter.expected("eps_plain").data);
            model->set_adapters(adapter.at(1), {});
            within(std::string(name) + " on " + type, difference(predicted(model, adapter, text), adapter.expected("eps_1").data),
                   3 * bare + 1e-2);
        }
    }
}

TEST(adapters_leave_no_trace) {
    for (const bool exact : {true, false}) {
        LoadRequest request = exact_request();
        if (!exact) request.precision = Precision::fast;
        const Loaded model("sd1", request);
        const Adapter first("lora-kohya"), second("lora-peft", "peft");
        const PromptTokens ids = ids_of(first.input("ids"));
        const auto run = [&] { return predicted(model, first, model->encode_prompt(ids, {})); };
        const std::vector<float> bare = run();
        model->set_adapters(first.at(0), {});
        CHECK(run() == bare);
        model->set_adapters(first.at(1), {});
        const std::vector<float> with = run();
        CHECK(difference(with, bare) > 0.05);
        // The U-Net and the text encoders have weights of their own.
        model->set_adapters({{first.path, 0, 1}}, {});
        CHECK(difference(run(), bare) > 1e-3 && difference(run(), with) > 1e-3);
        model->set_adapters({}, {});
        CHECK(run() == bare);
        model->set_adapters({{first.path, 0.7, 0.7}, {second.path, -0.4, -0.4}}, {});
        const std::vector<float> there = run();
        model->set_adapters({{second.path, -0.4, -0.4}, {first.path, 0.7, 0.7}}, {});
        // Kernels that round to bf16 round the products of both orders: 2.6e-2, where others give 2e-3.
        const double bound = exact ? 2e-5 : kernels::tile_set(kernels::Arithmetic::fast).bf16 ? 5e-2 : 2e-2;
        within("commute", difference(run(), there), bound);
        // What an adapter adds once with twice the weight, it adds twice.
        model->set_adapters({{first.path, 0.5, 0.5}, {first.path, 0.5, 0.5}}, {});
        within("twice a half", difference(run(), with), bound);
    }
}

TEST(adapters_on_quantised_weights) {
    const Adapter adapter("lora-kohya");
    const PromptTokens ids = ids_of(adapter.input("ids"));
    for (const char * type : {"f16", "bf16", "q8_0", "int8"}) {
        LoadRequest request = exact_request();
        request.precision = Precision::fast;
        request.dtype["unet"] = type;
        const Loaded model("sd1", request);
        // What the type costs without an adapter is what it may cost with one.
        const Conditioning text = context_of(golden::expected(adapter.golden, "text_context"));
        const Loaded exact("sd1");
        const double bare = difference(predicted(model, adapter, text), predicted(exact, adapter, text));
        model->set_adapters(adapter.at(0.8), {});
        const std::vector<float> eps = adapter.expected("eps").data;
        within(std::string("addon-lora-kohya on ") + type, difference(predicted(model, adapter, text), eps), 2 * bare + 1e-2);
    }
}

TEST(adapters_of_one_call) {
    const Loaded model("sd1");
    const Adapter adapter("lora-kohya");
    GenerateRequest request;
    request.inputs.prompt = ids_of(adapter.input("ids"));
    request.sampling.steps = 2, request.sampling.guidance_scale = 1;
    request.width = 64, request.height = 64;
    request.output_float = true;
    const auto draw = [&] { return model->generate(request, {}).tensor.data; };
    const std::vector<float> bare = draw();
    request.adapters = adapter.at(1);
    const std::vector<float> with = draw();
    CHECK(difference(with, bare) > 1e-2);
    request.adapters.reset();
    CHECK(draw() == bare);
    model->set_adapters(adapter.at(1), {});
    CHECK(draw() == with);
    model->unload();
    CHECK(model->memory_usage()["total"] == 0);
    CHECK(draw() == with);
    request.adapters = AdapterUses{};
    CHECK(draw() == bare);
}

// Queries, keys and values read the same tokens, so their lower factors are one product, each layer reading its own rows.
TEST(adapters_of_different_ranks_beside_each_other) {
    const Adapter tiny("lora-kohya");
    const Conditioning text = context_of(golden::expected(tiny.golden, "text_context"));
    const golden::TempFolder folder;
    const std::string attention = "attentions_0_transformer_blocks_0_";
    std::vector<golden::FileTensor> factors, differences;
    const auto add = [&](const std::string & layer, int64_t out, int64_t channels, int64_t rank, int64_t size = 0) {
        const std::string name = "lora_unet_mid_block_" + layer;
        const auto shape = [&](int64_t rows, int64_t columns, int64_t side) {
            return size ? std::vector<int64_t>{rows, columns, side, side} : std::vector<int64_t>{rows, columns};
        };
        const int64_t in = channels * (size ? size * size : 1);
        const auto down = golden::formula_tensor(name + ".lora_down.weight", shape(rank, channels, size));
        const auto up = golden::formula_tensor(name + ".lora_up.weight", shape(out, rank, 1));
        auto whole = golden::formula_tensor(name + ".diff", shape(out, channels, size));
        const auto at = [](const golden::FileTensor & tensor, int64_t i) {
            float value;
            std::memcpy(&value, tensor.data.data() + 4 * i, 4);
            return static_cast<double>(value);
        };
        for (int64_t i = 0; i < out * in; ++i) {
            double sum = 0;
            for (int64_t r = 0; r < rank; ++r) sum += at(up, i / in * rank + r) * at(down, r * in + i % in);
            const float value = static_cast<float>(sum);
            std::memcpy(whole.data.data() + 4 * i, &value, 4);
        }
        factors.push_back(down), factors.push_back(up), differences.push_back(whole);
    };
    add(attention + "attn1_to_q", 128, 128, 3);
    add(attention + "attn1_to_k", 128, 128, 6);
    add(attention + "attn1_to_v", 128, 128, 1);
    add(attention + "attn2_to_q", 128, 128, 7);
    add(attention + "attn2_to_v", 128, 32, 5);
    add(attention + "ff_net_0_proj", 1024, 128, 9);
    add("resnets_0_conv1", 128, 128, 3, 3);
    golden::write_safetensors(folder / "factors.safetensors", factors);
    golden::write_safetensors(folder / "differences.safetensors", differences);
    for (const std::string arithmetic : {"exact", "fast", "int8"}) {
        LoadRequest request = exact_request();
        if (arithmetic != "exact") request.precision = Precision::fast;
        if (arithmetic == "int8") request.dtype["unet"] = "int8";
        const Loaded model("sd1", request);
        const auto with = [&](const std::string & name) {
            const Json report = model->set_adapters({{folder / name, 0.5, 0.5}}, {});
            CHECK(report[0]["matched"].size() == differences.size() && report[0]["unmatched"].empty());
            return predicted(model, tiny, text);
        };
        const std::vector<float> bare = predicted(model, tiny, text), sides = with("factors.safetensors");
        // In int8, the network itself is 6.6e-2 from float32.
        const double bound = arithmetic == "exact" ? 2e-5 : arithmetic == "fast" ? 5e-2 : 1e-1;
        within("side products", difference(sides, with("differences.safetensors")), bound);
        CHECK(difference(sides, bare) > 2 * bound);
    }
}

TEST(adapters_refused) {
    const Loaded sd1("sd1"), sdxl("sdxl-base");
    const Adapter small("lora-kohya"), large("lora-sdxl-names", "diffusers-blocks");
    CHECK(throws(ErrorCode::unsupported_model, "text of width", [&] { sd1->set_adapters(large.at(1), {}); }));
    CHECK(throws(ErrorCode::unsupported_model, "text of width", [&] { sdxl->set_adapters(small.at(1), {}); }));
    CHECK(throws(ErrorCode::io, "", [&] { sd1->set_adapters({{small.folder / "missing.safetensors", 1, 1}}, {}); }));

    const golden::TempFolder folder;
    const auto with = [&](std::vector<golden::FileTensor> tensors) {
        const std::string path = folder / "adapter.safetensors";
        golden::write_safetensors(path, tensors);
        return AdapterUses{{path, 1, 1}};
    };
    const std::string layer = "lora_unet_mid_block_attentions_0_proj_in";
    const auto down = golden::formula_tensor(layer + ".lora_down.weight", {4, 128, 1, 1});
    const auto up = golden::formula_tensor(layer + ".lora_up.weight", {128, 4, 1, 1});
    sd1->set_adapters(with({down, up}), {});
    CHECK(throws(ErrorCode::model_format, "no \"up\"", [&] { sd1->set_adapters(with({down}), {}); }));
    CHECK(throws(ErrorCode::model_format, "two different ranks", [&] {
        sd1->set_adapters(with({down, golden::formula_tensor(up.name, {128, 8, 1, 1})}), {});
    }));
    CHECK(throws(ErrorCode::model_format, "different size", [&] {
        sd1->set_adapters(with({down, golden::formula_tensor(up.name, {64, 4, 1, 1})}), {});
    }));
    auto damaged = up;
    const float infinite = INFINITY;
    std::memcpy(damaged.data.data(), &infinite, 4);
    CHECK(throws(ErrorCode::model_format, "not finite", [&] { sd1->set_adapters(with({down, damaged}), {}); }));
    CHECK(throws(ErrorCode::unsupported_model, "diffusion transformer", [&] {
        sd1->set_adapters(
            with({golden::formula_tensor("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight", {4, 64}),
                  golden::formula_tensor("transformer.single_transformer_blocks.0.attn.to_q.lora_B.weight", {64, 4})}),
            {});
    }));
    CHECK(throws(ErrorCode::unsupported_model, "not an adapter", [&] {
        sd1->set_adapters(with({golden::formula_tensor("conv_in.weight", {4, 4, 3, 3})}), {});
    }));
    // A layer that this model lacks is named, and the rest applied.
    const Json report = sd1->set_adapters(with({down, up, golden::formula_tensor("lora_unet_elsewhere.lora_down.weight", {4, 8}),
                                                golden::formula_tensor("something", {1})}),
                                          {});
    CHECK(report[0]["matched"] == Json::array({"model.diffusion_model.middle_block.1.proj_in"}));
    CHECK(report[0]["unmatched"] == Json::array({"lora_unet_elsewhere", "something"}));
}

TEST(adapters_in_the_memory_plan) {
    const Loaded model("sd1");
    const Adapter adapter("lora-kohya");
    EstimateRequest request{64, 64};
    const Json bare = model->estimate(request);
    request.adapters = adapter.at(1);
    const Json with = model->estimate(request);
    CHECK(with["weights"]["unet"]["bytes"] > bare["weights"]["unet"]["bytes"]);
    CHECK(with["weights"]["textEncoder"]["bytes"] > bare["weights"]["textEncoder"]["bytes"]);
    CHECK(with["unet"]["flops"].get<double>() > bare["unet"]["flops"].get<double>());
    request.adapters.reset();
    CHECK(model->estimate(request) == bare);
    const uint64_t before = model->memory_usage()["parts"]["unet"];
    model->set_adapters(adapter.at(1), {});
    const uint64_t more = model->memory_usage()["parts"]["unet"].get<uint64_t>() - before;
    CHECK(more == with["weights"]["unet"]["bytes"].get<uint64_t>() - bare["weights"]["unet"]["bytes"].get<uint64_t>());
}

TEST(adapters_switched_often) {
    const Loaded model("sd1");
    const Adapter adapter("lora-kohya");
    const Conditioning text = context_of(golden::expected(adapter.golden, "text_context"));
    const auto round = [&](int i) {
        model->set_adapters(adapter.at(i % 2 ? 0.8 : -0.3), {});
        (void)predicted(model, adapter, text);
    };
    for (int i = 0; i < 20; ++i) round(i);
    const uint64_t before = peak_resident_memory();
    for (int i = 0; i < 180; ++i) round(i);
    CHECK(peak_resident_memory() < before + (uint64_t{8} << 20));
}

TEST(adapters_textual_inversion) {
    const Loaded model("sd1");
    const golden::Case inversion = golden::load("addon-textual-inversion");
    const struct {
        const char *ids, *expected, *layout, *key;
    } forms[] = {{"ids_one", "context_one", "a1111-pt", "string_to_param.*"},
                 {"ids_one", "context_one", "diffusers-bin", "<one>"},
                 {"ids_three", "context_three", "a1111-safetensors", "emb_params"},
                 {"ids_three", "context_three", "diffusers", "<three>"}};
    for (const auto & form : forms) {
        const golden::Values vectors = golden::weight(inversion, form.layout, form.key), ids = golden::input(inversion, form.ids);
        PromptTokens tokens = ids_of(ids);
        TokenChunk & chunk = tokens.chunks.front();
        TokenChunk::Vectors run;
        run.first = std::find(chunk.ids.begin(), chunk.ids.end(), -1) - chunk.ids.begin();
        run.count = static_cast<int64_t>(vectors.data.size()) / 32;
        run.encoders = {vectors.data};
        for (int64_t i = 0; i < run.count; ++i) chunk.ids[static_cast<size_t>(run.first + i)] = 0;
        chunk.vectors = {run};
        const golden::Values context = golden::expected(inversion, form.expected);
        within(form.layout, difference(model->encode_prompt(tokens, {}).data, context.data), context.atol);
        chunk.vectors[0].encoders[0].pop_back();
        CHECK(throws(ErrorCode::invalid_argument, "do not match", [&] { model->encode_prompt(tokens, {}); }));
    }
}

// What they add to memory is what their files hold, in 32 bits here: the model's weights are not copied. Not so for LoHa, which
// has the square of its rank as a low-rank product, and for 3x3 convolutions of LoKr.
TEST(adapters_take_the_memory_of_their_numbers) {
    const Loaded model("sd1");
    const auto bytes = [&] { return model->memory_usage()["total"].get<uint64_t>(); };
    for (const char * name : {"lora-kohya", "dora", "dora-peft", "ia3", "oft-lycoris", "oft-kohya", "boft"}) {
        const Adapter adapter(name, std::string(name) == "dora-peft" ? "peft" : "kohya");
        const bool has_context = adapter.golden.json.at("inputs").contains("context");
        const Conditioning text = context_of(has_context ? adapter.input("context") : adapter.expected("text_context"));
        model->set_adapters({}, {});
        predicted(model, adapter, text);
        const uint64_t bare = bytes();
        model->set_adapters(adapter.at(1), {});
        const uint64_t added = bytes() - bare, stored = std::filesystem::file_size(adapter.path);
        const bool fits = added > 0 && added <= stored * 11 / 10;
        if (!fits)
            std::printf("     %s: %llu bytes for a file of %llu\n", name, static_cast<unsigned long long>(added),
                        static_cast<unsigned long long>(stored));
        CHECK(fits);
    }
}
