#include <algorithm>
#include <fstream>
#include <functional>
#include <optional>

#include "check.h"
#include "formats/model_files.h"
#include "formats/naming/canonical.h"
#include "formats/naming/canonical_source.h"
#include "formats/open.h"
#include "gguf_file.h"
#include "golden.h"

using latent::DType;
using latent::ErrorCode;
using latent::Json;
using latent::TensorInfo;
using latent::formats::CanonicalModel;
using latent::formats::ModelParts;
using latent::formats::open_model;
using latent::formats::OpenedModel;
using latent::formats::Part;

namespace {

std::vector<float> values(const latent::TensorSource & source, const std::string & name) {
    const TensorInfo * tensor = source.find(name);
    if (!tensor) throw latent::Error(ErrorCode::internal, "no tensor " + name);
    return source.read_f32(*tensor);
}

std::vector<float> part(const std::vector<float> & all, size_t begin, size_t count) {
    return {all.begin() + static_cast<std::ptrdiff_t>(begin), all.begin() + static_cast<std::ptrdiff_t>(begin + count)};
}

/// "model.diffusion_model.out.2.bias" -> "model_ema.diffusion_modelout2bias"
std::string ema_key(const std::string & name) {
    std::string rest = name.substr(6);
    rest.erase(std::remove(rest.begin(), rest.end(), '.'), rest.end());
    return "model_ema." + rest;
}

void check_unet(const golden::Case & c, const OpenedModel & model, bool ema) {
    int compared = 0;
    for (const TensorInfo & stored : golden::keys(c, "compvis")) {
        if (stored.name.rfind("model.diffusion_model.", 0) != 0) continue;
        const TensorInfo * tensor = model.tensors->find(stored.name);
        if (!tensor || tensor->shape != stored.shape) {
            check::fail(__FILE__, __LINE__, "missing or misshapen: " + stored.name);
            continue;
        }
        const golden::Values expected = golden::weight(c, "compvis", ema ? ema_key(stored.name) : stored.name);
        if (model.tensors->read_f32(*tensor) != expected.data) check::fail(__FILE__, __LINE__, "wrong values of " + stored.name);
        ++compared;
    }
    CHECK(compared == 368);
}

std::string replaced(std::string text, const std::string & from, const std::string & to) {
    const size_t at = text.find(from);
    return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

/// The CompVis layout of an SDXL case with stable-diffusion.cpp's names.
void write_as_sd_cpp(const golden::Case & c, const std::string & path, bool fused) {
    GgufFile file;
    file.add_text("general.architecture", "sd");
    const auto add = [&](const std::string & name, const std::vector<int64_t> & shape, const float * data) {
        size_t count = 1;
        for (const int64_t size : shape) count *= static_cast<size_t>(size);
        file.add_tensor(name, shape, 0, std::string(reinterpret_cast<const char *>(data), count * sizeof(float)));
    };
    for (const TensorInfo & tensor : golden::keys(c, "compvis")) {
        std::string name = tensor.name;
        if (name.find("position_ids") != std::string::npos || name.find("logit_scale") != std::string::npos) continue;
        const bool open_clip = name.rfind("conditioner.embedders.", 0) == 0 && name.find(".model.") != std::string::npos;
        name = replaced(name, "conditioner.embedders.0.", "cond_stage_model.");
        name = replaced(name, "conditioner.embedders.1.", "cond_stage_model.1.");
        const golden::Values values = golden::weight(c, "compvis", tensor.name);
        if (open_clip) {
            name = replaced(name, "model.transformer.resblocks.", "transformer.text_model.encoder.layers.");
            for (const auto & [from, to] :
                 {std::pair{"model.ln_final", "transformer.text_model.final_layer_norm"},
                  {"model.positional_embedding", "transformer.text_model.embeddings.position_embedding.weight"},
                  {"model.token_embedding", "transformer.text_model.embeddings.token_embedding"},
                  {"model.text_projection", "transformer.text_model.text_projection"}}) {
                // Not the "model." inside "cond_stage_model." or "text_model.".
                const size_t at = name.find(std::string(".") + from);
                if (at != std::string::npos) name.replace(at + 1, std::string(from).size(), to);
            }
            for (const auto & [from, to] : {std::pair{".attn.out_proj", ".self_attn.out_proj"},
                                            {".attn.in_proj_", ".self_attn.in_proj."},
                                            {".ln_1.", ".layer_norm1."},
                                            {".ln_2.", ".layer_norm2."},
                                            {".mlp.c_fc.", ".mlp.fc1."},
                                            {".mlp.c_proj.", ".mlp.fc2."}}) {
                name = replaced(name, from, to);
            }
            if (!fused && name.find(".in_proj.") != std::string::npos) {
                std::vector<int64_t> third = tensor.shape;
                third[0] /= 3;
                for (size_t i = 0; i < 3; ++i)
                    add(replaced(name, "in_proj",
                                 i == 0   ? "q_proj"
                                 : i == 1 ? "k_proj"
                                          : "v_proj"),
                        third, values.data.data() + i * values.data.size() / 3);
                continue;
            }
        }
        add(name, tensor.shape, values.data.data());
    }
    file.write(path);
}

}  // namespace

TEST(ema_weights_take_the_place_of_the_raw_ones) {
    const golden::Case c = golden::load("ldm-uncond");
    const golden::TempFolder folder;
    ModelParts parts;
    parts.model = golden::write_layout(c, "compvis", folder.path());
    parts.config = c.config();
    OpenedModel model = open_model(parts);
    CHECK(model.spec.use_ema && model.spec.kind == "unconditional" && model.spec.first_stage->kind == "vq");
    CHECK(model.spec.unet->num_head_channels == 32 && model.spec.unet->attention == latent::UNetAttention::attention_block);
    CHECK_NEAR(model.spec.schedule.beta_start, 0.0015, 0);
    CHECK_NEAR(model.spec.schedule.beta_end, 0.0195, 0);
    CHECK(model.spec.scale_factor == 1.0);
    check_unet(c, model, true);
    parts.ema = false;
    model = open_model(parts);
    CHECK(!model.spec.use_ema);
    check_unet(c, model, false);
}

TEST(ema_weights_are_all_there_or_refused) {
    const golden::Case c = golden::load("ldm-uncond");
    const std::string root = "model_ema.", out = "model.diffusion_model.out.2.bias";
    // Opens the file without the averaged weights that `gone` names; internal where it opens, with what was said otherwise.
    const auto opened = [&](const std::function<bool(const std::string &)> & gone, std::optional<bool> ema, bool config) {
        const golden::TempFolder folder;
        std::vector<golden::FileTensor> list;
        for (const TensorInfo & info : golden::keys(c, "compvis")) {
            if (!gone(info.name)) list.push_back(golden::formula_tensor(info.name, info.shape));
        }
        golden::write_safetensors(folder / "model.safetensors", list);
        ModelParts parts;
        parts.model = folder / "model.safetensors";
        if (config) parts.config = c.config();
        if (!config) parts.spec = {{"unet", {{"numHeadChannels", 32}}}};
        parts.ema = ema;
        try {
            return std::pair<ErrorCode, std::string>(ErrorCode::internal, open_model(parts).spec.use_ema ? "ema" : "raw");
        } catch (const latent::Error & e) {
            return std::pair<ErrorCode, std::string>(e.code(), e.what());
        }
    };
    const auto is_ema = [&](const std::string & name) { return name.rfind(root, 0) == 0; };
    const auto none = [](const std::string &) { return false; };
    const auto one = [&](const std::string & name) { return name == ema_key(out); };
    const auto counters_only = [&](const std::string & name) {
        return is_ema(name) && name != root + "decay" && name != root + "num_updates";
    };
    for (const bool config : {true, false}) {
        CHECK(opened(none, true, config).second == "ema" && opened(none, std::nullopt, config).second == "ema");
        // None at all: raw weights, unless the caller wants the others.
        for (const auto & gone : std::vector<std::function<bool(const std::string &)>>{is_ema, counters_only}) {
            CHECK(opened(gone, std::nullopt, config).second == "raw" && opened(gone, false, config).second == "raw");
            const auto asked = opened(gone, true, config);
            CHECK(asked.first == ErrorCode::invalid_argument && asked.second.find("no EMA weights") != std::string::npos);
        }
        // One is not there: never a mixture.
        CHECK(opened(one, false, config).second == "raw");
        for (const std::optional<bool> ema : {std::optional<bool>(true), std::optional<bool>()}) {
            const auto refused = opened(one, ema, config);
            CHECK(refused.first == ErrorCode::model_format && refused.second.find('"' + out + '"') != std::string::npos);
        }
    }
}

TEST(diffusers_q_k_v_are_fused_head_by_head) {
    const golden::Case c = golden::load("ldm-uncond");
    const golden::TempFolder folder;
    golden::write_layout(c, "diffusers", folder.path());
    ModelParts parts;
    parts.model = folder.path();
    const OpenedModel model = open_model(parts);
    CHECK(model.spec.kind == "unconditional" && model.spec.unet->num_head_channels == 32 && model.spec.scale_factor == 1.0);
    check_unet(c, model, false);
    // Without its config.json nobody knows the heads.
    ModelParts bare;
    bare.unet = folder / "unet/diffusion_pytorch_model.safetensors";
    CHECK_THROWS(open_model(bare), ErrorCode::unsupported_model);
}

TEST(open_clip_tensors_are_split_and_transposed) {
    const golden::TempFolder folder;
    const std::string root = "cond_stage_model.model.", block = root + "transformer.resblocks.0.";
    std::vector<golden::FileTensor> tensors = {golden::formula_tensor(root + "positional_embedding", {7, 4}),
                                               golden::formula_tensor(root + "token_embedding.weight", {11, 4}),
                                               golden::formula_tensor(root + "text_projection", {4, 6}),
                                               golden::formula_tensor(root + "logit_scale", {1}),
                                               golden::formula_tensor(root + "attn_mask", {7, 7}),
                                               golden::formula_tensor(block + "attn.in_proj_weight", {12, 4}),
                                               golden::formula_tensor(block + "attn.in_proj_bias", {12}),
                                               golden::formula_tensor(block + "mlp.c_fc.weight", {16, 4}),
                                               golden::formula_tensor(root + "ln_final.bias", {4})};
    golden::write_safetensors(folder / "clip.safetensors", tensors);
    const latent::TensorSourcePtr stored = latent::formats::open_model_file(folder / "clip.safetensors");
    const CanonicalModel model = latent::formats::canonicalise({{stored, Part::whole}});
    CHECK(model.open_clip[0] && model.text_prefix[0] == "cond_stage_model.transformer.text_model.");
    const latent::TensorSource & t = *model.tensors;
    CHECK(t.tensors().size() == 11);  // logit_scale and attn_mask are gone, in_proj became three
    const std::string layer = model.text_prefix[0] + "encoder.layers.0.";
    const std::vector<float> weight = values(*stored, block + "attn.in_proj_weight"),
                             bias = values(*stored, block + "attn.in_proj_bias");
    const char * const names[] = {"q_proj", "k_proj", "v_proj"};
    for (size_t i = 0; i < 3; ++i) {
        const std::string name = layer + "self_attn." + names[i];
        CHECK(values(t, name + ".weight") == part(weight, 16 * i, 16));
        CHECK(values(t, name + ".bias") == part(bias, 4 * i, 4));
        CHECK(!t.view(*t.find(name + ".weight")).empty());  // still in the mapped file
    }
    const std::vector<float> projection = values(*stored, root + "text_projection");
    const TensorInfo & turned = *t.find("cond_stage_model.transformer.text_projection.weight");
    CHECK((turned.shape == std::vector<int64_t>{6, 4}));
    const std::vector<float> result = t.read_f32(turned);
    for (size_t i = 0; i < 6; ++i)
        for (size_t j = 0; j < 4; ++j) CHECK(result[i * 4 + j] == projection[j * 6 + i]);
    CHECK(t.has(layer + "mlp.fc1.weight") && t.has(model.text_prefix[0] + "final_layer_norm.bias"));
}

// stable-diffusion.cpp's GGUF files have CompVis' names for U-Net and first stage, and text towers with Hugging Face's names
// under "cond_stage_model." and "cond_stage_model.1."; OpenCLIP's q, k and v are one tensor, or three in older files, and its
// projection is not transposed.
TEST(sdxl_named_as_in_stable_diffusion_cpp) {
    for (const char * name : {"sdxl-base", "sdxl-refiner"}) {
        const golden::Case c = golden::load(name);
        const golden::TempFolder folder;
        ModelParts parts;
        parts.config = c.config();
        parts.model = golden::write_layout(c, "compvis", folder.path());
        const OpenedModel reference = open_model(parts);
        for (const bool fused : {true, false}) {
            parts.model = folder / (fused ? "new.gguf" : "old.gguf");
            write_as_sd_cpp(c, parts.model, fused);
            const OpenedModel model = open_model(parts);
            CHECK(latent::to_json(model.spec) == latent::to_json(reference.spec));
            CHECK(model.tensors->tensors().size() == reference.tensors->tensors().size());
            int different = 0;
            for (const TensorInfo & tensor : reference.tensors->tensors()) {
                const TensorInfo * same = model.tensors->find(tensor.name);
                if (!same || same->shape != tensor.shape || model.tensors->read_f32(*same) != reference.tensors->read_f32(tensor))
                    ++different;
            }
            CHECK(different == 0);
        }
    }
}

TEST(rows_of_a_tensor_lie_where_they_are_read) {
    const golden::TempFolder folder;
    golden::write_safetensors(folder / "t.safetensors",
                              {golden::formula_tensor("a", {4, 2}), golden::formula_tensor("b", {3, 2})});
    const latent::TensorSourcePtr source = latent::formats::open_model_file(folder / "t.safetensors");
    const size_t a = source->find("a")->index, b = source->find("b")->index;
    const latent::formats::MappedSource mapped("m", {{"part", {2, 2}, {{source, a, 1, 3}}, false},
                                                     {"joined", {5, 2}, {{source, a, 2, 4}, {source, b, 0, 3}}, false},
                                                     {"turned", {2, 4}, {{source, a, 0, 4}}, true}});
    const auto bytes_at = [&](const char * name) {
        std::vector<uint8_t> bytes;
        for (const latent::FileRange & place : mapped.places(*mapped.find(name)))
            bytes.insert(bytes.end(), place.file->data() + place.offset, place.file->data() + place.offset + place.count);
        return bytes;
    };
    for (const char * name : {"part", "joined"}) {
        const TensorInfo & tensor = *mapped.find(name);
        std::vector<uint8_t> read(static_cast<size_t>(tensor.bytes));
        mapped.read(tensor, read.data());
        CHECK(bytes_at(name) == read);
    }
    const latent::Span<const uint8_t> whole = source->view(source->tensors()[a]);
    CHECK(bytes_at("turned") == std::vector<uint8_t>(whole.begin(), whole.end()));
}

TEST(recipes_that_do_not_fit_are_refused) {
    const golden::TempFolder folder;
    golden::write_safetensors(folder / "t.safetensors", {golden::formula_tensor("a", {4, 2}), golden::formula_tensor("b", {3})});
    const latent::TensorSourcePtr source = latent::formats::open_model_file(folder / "t.safetensors");
    const size_t a = source->find("a")->index;
    const auto make = [&](std::vector<int64_t> shape, int64_t begin, int64_t end, bool transpose) {
        return latent::formats::MappedSource("m", {{"x", std::move(shape), {{source, a, begin, end}}, transpose}})
            .tensors()
            .size();
    };
    CHECK(make({8}, 0, 4, false) == 1);
    CHECK(make({2, 2}, 1, 3, false) == 1);
    CHECK_THROWS(make({9}, 0, 4, false), ErrorCode::model_format);
    CHECK_THROWS(make({4}, 3, 5, false), ErrorCode::model_format);
    CHECK_THROWS(make({4}, 3, 1, false), ErrorCode::model_format);
    CHECK_THROWS(make({2, 2}, 0, 2, true), ErrorCode::model_format);
    CHECK_THROWS(latent::formats::MappedSource("m", {{"x", {1}, {}, false}}), ErrorCode::model_format);
    // The third of four rows does not exist.
    golden::write_safetensors(folder / "c.safetensors",
                              {golden::formula_tensor("token_embedding.weight", {4, 4}),
                               golden::formula_tensor("transformer.resblocks.0.attn.in_proj_bias", {4})});
    const latent::TensorSourcePtr clip = latent::formats::open_model_file(folder / "c.safetensors");
    CHECK_THROWS(latent::formats::canonicalise({{clip, Part::whole}}), ErrorCode::model_format);
}

TEST(diffusers_unet_of_one_block_per_level) {
    // Two levels, one ResBlock each, no attention at the first: layers_per_block 1.
    const golden::TempFolder folder;
    const Json unet = {{"_class_name", "UNet2DConditionModel"},
                       {"in_channels", 4},
                       {"out_channels", 4},
                       {"block_out_channels", {32, 64}},
                       {"cross_attention_dim", 8},
                       {"attention_head_dim", 4},
                       {"layers_per_block", 1},
                       {"sample_size", 16}};
    std::vector<golden::FileTensor> list;
    const auto add = [&](const std::string & name, std::vector<int64_t> shape, bool bias = true) {
        list.push_back(golden::formula_tensor(name + ".weight", shape));
        if (bias) list.push_back(golden::formula_tensor(name + ".bias", {shape[0]}));
    };
    const auto resnet = [&](const std::string & at, int64_t in, int64_t out) {
        add(at + ".norm1", {in}), add(at + ".conv1", {out, in, 3, 3}), add(at + ".time_emb_proj", {out, 128});
        add(at + ".norm2", {out}), add(at + ".conv2", {out, out, 3, 3});
        if (in != out) add(at + ".conv_shortcut", {out, in, 1, 1});
    };
    const auto transformer = [&](const std::string & at, int64_t c) {
        add(at + ".norm", {c}), add(at + ".proj_in", {c, c, 1, 1}), add(at + ".proj_out", {c, c, 1, 1});
        const std::string b = at + ".transformer_blocks.0";
        for (const std::string attention : {".attn1", ".attn2"}) {
            const int64_t from = attention == ".attn1" ? c : 8;
            add(b + attention + ".to_q", {c, c}, false), add(b + attention + ".to_k", {c, from}, false);
            add(b + attention + ".to_v", {c, from}, false), add(b + attention + ".to_out.0", {c, c});
        }
        add(b + ".ff.net.0.proj", {8 * c, c}), add(b + ".ff.net.2", {c, 4 * c});
        for (const char * norm : {".norm1", ".norm2", ".norm3"}) add(b + norm, {c});
    };
    add("conv_in", {32, 4, 3, 3}), add("time_embedding.linear_1", {128, 32}), add("time_embedding.linear_2", {128, 128});
    resnet("down_blocks.0.resnets.0", 32, 32), add("down_blocks.0.downsamplers.0.conv", {32, 32, 3, 3});
    resnet("down_blocks.1.resnets.0", 32, 64), transformer("down_blocks.1.attentions.0", 64);
    resnet("mid_block.resnets.0", 64, 64), transformer("mid_block.attentions.0", 64), resnet("mid_block.resnets.1", 64, 64);
    resnet("up_blocks.0.resnets.0", 128, 64), resnet("up_blocks.0.resnets.1", 96, 64);
    transformer("up_blocks.0.attentions.0", 64), transformer("up_blocks.0.attentions.1", 64);
    add("up_blocks.0.upsamplers.0.conv", {64, 64, 3, 3});
    resnet("up_blocks.1.resnets.0", 96, 32), resnet("up_blocks.1.resnets.1", 64, 32);
    add("conv_norm_out", {32}), add("conv_out", {4, 32, 3, 3});
    golden::write_safetensors(folder / "diffusion_pytorch_model.safetensors", list);
    { std::ofstream(folder / "config.json") << unet.dump(); }
    ModelParts parts;
    parts.model = folder.path();
    parts.spec = {{"scaleFactor", 0.5}, {"schedule", {{"betaStart", 0.00085}}}};
    const OpenedModel model = open_model(parts);
    const latent::UNetConfig & u = *model.spec.unet;
    CHECK(u.num_res_blocks == 1 && (u.channel_mult == std::vector<int>{1, 2}) &&
          (u.attention_resolutions == std::vector<int>{2}));
    CHECK(u.num_heads == 4 && u.context_dim == 8 && model.tensors->tensors().size() == list.size());
    const latent::TensorSourcePtr stored = latent::formats::open_model_file(folder.path());
    const std::pair<const char *, const char *> pairs[] = {
        {"output_blocks.1.2.conv.bias", "up_blocks.0.upsamplers.0.conv.bias"},
        {"input_blocks.2.0.op.weight", "down_blocks.0.downsamplers.0.conv.weight"},
        {"input_blocks.3.1.proj_in.weight", "down_blocks.1.attentions.0.proj_in.weight"},
        {"output_blocks.2.0.skip_connection.weight", "up_blocks.1.resnets.0.conv_shortcut.weight"},
        {"middle_block.2.out_layers.3.bias", "mid_block.resnets.1.conv2.bias"}};
    for (const auto & pair : pairs) {
        CHECK(values(*model.tensors, std::string("model.diffusion_model.") + pair.first) == values(*stored, pair.second));
    }
}
