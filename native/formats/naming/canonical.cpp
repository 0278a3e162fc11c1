#include "formats/naming/canonical.h"

#include <algorithm>
#include <set>

#include "core/json.h"
#include "formats/naming/canonical_source.h"
#include "formats/naming/key_map.h"
#include "formats/spec/markers.h"

namespace latent::formats {

namespace {

enum class Place { unet, vae, text, text_2, image, ema, buffer, ignored };

struct Prefix {
    const char * text;
    Place place;
};

// CompVis and Stability, then names used by single files made from diffusers' folders.
constexpr Prefix prefixes[] = {
    {unet_prefix, Place::unet},
    {stage_prefix, Place::vae},
    {"cond_stage_model.1.", Place::text_2},  // SDXL in stable-diffusion.cpp
    {cond_prefix, Place::text},
    {"conditioner.embedders.0.", Place::text},
    {"conditioner.embedders.1.", Place::text_2},
    {"model_ema.", Place::ema},
    {"unet.", Place::unet},
    {"vae.", Place::vae},
    {"vqvae.", Place::vae},
    {"taesd_", Place::vae},
    {"text_encoder.", Place::text},
    {"text_encoder_2.", Place::text_2},
    {image_prefix, Place::image},
    {"te.", Place::text},
    {"text_encoders.clip_l.", Place::text},
    {"text_encoders.clip_g.", Place::text_2},
};

/// One stored tensor while it is being mapped.
struct Stored {
    TensorSourcePtr source;
    TensorInfo info;   // shape under its canonical name
    std::string name;  // relative to its part
    bool sgm = false;  // under "conditioner.embedders."
    ScalePtr scale;    // the scale of its numbers, null if there is none
};

/// Names of a CLIP image tower, which may be in the same file as a text tower.
bool is_image_name(const std::string & name) {
    return starts_with(name, "vision_model.") || starts_with(name, "visual_projection.") || starts_with(name, "visual.");
}

/// The layer of a U-Net that reads SDXL's vector, in both namings.
bool is_vector_embedding(const std::string & name) {
    return name == "label_emb.0.0.weight" || name == "add_embedding.linear_1.weight";
}

/// The part that a file without part prefixes contains.
Place bare_place(const TensorSource & source) {
    if (source.has("input_blocks.0.0.weight") || (source.has("conv_in.weight") && source.has("time_embedding.linear_1.weight"))) {
        return Place::unet;
    }
    if (source.has("encoder.conv_in.weight") || source.has("decoder.conv_in.weight")) return Place::vae;
    if (is_tiny_stage(source) || !tiny_half(source).empty()) return Place::vae;
    for (const char * name : {"text_model.embeddings.token_embedding.weight", "embeddings.token_embedding.weight",
                              "token_embedding.weight", "transformer.text_model.embeddings.token_embedding.weight",
                              "model.token_embedding.weight", "model.embed_tokens.weight"}) {
        if (source.has(name)) return Place::text;
    }
    return Place::ignored;
}

/// Collects the tensors of all parts under their canonical names.
class Canonicaliser {
public:
    explicit Canonicaliser(const CanonicalOptions & options) : options_(options) {}

    void collect(const PartSource & part, const std::set<Part> & given) {
        const Place bare = bare_place(*part.source);
        const std::string half = tiny_half(*part.source);
        const Scales scales(*part.source);
        if (bare == Place::text) model_.bare_clip = true;
        for (const TensorInfo & tensor : part.source->tensors()) {
            if (scales.explain(tensor)) continue;
            Stored stored{part.source, tensor, half + tensor.name, starts_with(tensor.name, embedders_prefix), scales.of(tensor)};
            const Place where = place_of(stored, part.part, bare);
            place(part, given, where, std::move(stored));
        }
        if (!part.source->name().empty()) names_.push_back(part.source->name());
        if (metadata_ == "{}") metadata_ = part.source->metadata_json();
    }

    CanonicalModel finish() {
        map_unet();
        map_stage();
        sgm_ = !text_[1].empty() || std::any_of(text_[0].begin(), text_[0].end(), [](const Stored & s) { return s.sgm; }) ||
               std::any_of(unet_.begin(), unet_.end(), [](const Stored & s) { return is_vector_embedding(s.name); });
        if (text_[0].empty()) std::swap(text_[0], text_[1]);  // a refiner's only tower becomes the first
        map_text(0);
        map_text(1);
        map_image();
        fuse();
        std::string name;
        for (const std::string & one : names_) name += (name.empty() ? "" : " + ") + one;
        model_.tensors = std::make_shared<MappedSource>(name, std::move(recipes_), metadata_);
        return std::move(model_);
    }

private:
    struct Fused {
        std::array<std::optional<Stored>, 3> parts;
    };

    static Place place_of(Stored & stored, Part part, Place bare) {
        if (is_prediction_marker(stored.name)) return Place::buffer;
        for (const Prefix & prefix : prefixes) {
            if (!starts_with(stored.name, prefix.text)) continue;
            // "model.diffusion_model." cannot occur in a bare file of another kind; "te." and similar prefixes count only in
            // whole files.
            stored.name = stored.name.substr(std::string(prefix.text).size());
            return prefix.place;
        }
        if (stored.name == "betas" || stored.name == "scale_factor" || stored.name == "low_scale_model.betas")
            return Place::buffer;
        if (is_image_name(stored.name) && (part == Part::whole || part == Part::text))
            return part == Part::whole && bare == Place::text ? Place::image : Place::ignored;
        switch (part) {
            case Part::unet: return Place::unet;
            case Part::vae: return Place::vae;
            case Part::text: return Place::text;
            case Part::text_2: return Place::text_2;
            case Part::image: return Place::image;
            default: return bare;
        }
    }

    static Part part_of(Place place) {
        switch (place) {
            case Place::vae: return Part::vae;
            case Place::text: return Part::text;
            case Place::text_2: return Part::text_2;
            case Place::image: return Part::image;
            default: return Part::unet;  // EMA weights and buffers belong to the U-Net
        }
    }

    void place(const PartSource & part, const std::set<Part> & given, Place place, Stored stored) {
        const std::string first = stored.info.name.substr(0, stored.info.name.find('.'));
        const Part of = part_of(place);
        const bool wanted =
            part.part == Part::whole ? given.count(of) == 0 : part.part == of || (part.part == Part::text && of == Part::text_2);
        if (place == Place::ignored || !wanted) {
            ++model_.ignored[first.substr(0, 64)];
            return;
        }
        switch (place) {
            case Place::unet: unet_.push_back(std::move(stored)); break;
            case Place::vae: stage_.push_back(std::move(stored)); break;
            case Place::text: text_[0].push_back(std::move(stored)); break;
            case Place::text_2: text_[1].push_back(std::move(stored)); break;
            case Place::image: image_.push_back(std::move(stored)); break;
            case Place::ema:
                if (stored.name != "decay" && stored.name != "num_updates") ema_.emplace(stored.name, stored);
                break;
            default: read_buffer(stored); break;
        }
    }

    void read_buffer(const Stored & stored) {
        if (is_prediction_marker(stored.name)) return;
        constexpr int64_t longest = 100000;
        const DType type = stored.info.dtype;
        if (dtype_is_quantised(type) || !dtype_is_readable(type)) return;
        if (stored.info.elements() < 1 || stored.info.elements() > longest) return;
        const std::vector<float> values = stored.source->read_f32(stored.source->tensors()[stored.info.index]);
        if (stored.info.name == "betas") {
            model_.betas.assign(values.begin(), values.end());
        } else if (stored.info.name == "low_scale_model.betas") {
            model_.low_scale_betas.assign(values.begin(), values.end());
        } else if (values.size() == 1 && values[0] > 0 && values[0] < 1e6f) {
            model_.scale_factor = values[0];
        }
    }

    static std::vector<std::string> names_of(const std::vector<Stored> & list) {
        std::vector<std::string> names;
        for (const Stored & stored : list) names.push_back(stored.name);
        return names;
    }

    /// The EMA copy of a U-Net weight: its path below "model." without dots. nullptr if there is none.
    const Stored * ema_of(const Stored & stored) const {
        if (!starts_with(stored.info.name, unet_prefix)) return nullptr;
        std::string key = stored.info.name.substr(6);
        key.erase(std::remove(key.begin(), key.end(), '.'), key.end());
        const auto found = ema_.find(key);
        if (found == ema_.end()) return nullptr;
        if (found->second.info.elements() != stored.info.elements()) {
            throw Error(ErrorCode::model_format,
                        stored.source->name() + ": the EMA copy of \"" + stored.info.name + "\" has a different size");
        }
        return &found->second;
    }

    void map_unet() {
        model_.ema_tensors = static_cast<int64_t>(ema_.size());
        if (unet_.empty()) return;
        model_.has_unet = true;
        const UNetNaming naming = UNetNaming::of(names_of(unet_));
        model_.naming = naming.diffusers ? "diffusers" : "compvis";
        for (const Stored & stored : unet_) {
            const auto targets = map_unet_key(stored.name, naming);
            if (!targets) {
                model_.unknown_unet.push_back(stored.name);
                continue;
            }
            for (const KeyTarget & target : *targets) {
                const std::string name = unet_prefix + target.name;
                const Stored * average = options_.use_ema ? ema_of(stored) : nullptr;
                if (options_.use_ema && !average) model_.without_ema.push_back(name);
                if (target.fused >= 0) {
                    fused_[name].parts[static_cast<size_t>(target.fused)] = stored;
                    continue;
                }
                Stored source = average ? *average : stored;
                source.info.shape = stored.info.shape;
                add(name, source, target);
            }
        }
    }

    /// "a.b.proj_out.weight" -> "a.b".
    static std::string attention_of(const std::string & name) {
        const size_t end = name.rfind('.');
        const size_t dot = end == std::string::npos || end == 0 ? std::string::npos : name.rfind('.', end - 1);
        return dot == std::string::npos ? name : name.substr(0, dot);
    }

    void ignore(const Stored & stored) {
        ++model_.ignored[stored.info.name.substr(0, std::min<size_t>(stored.info.name.find('.'), 64))];
    }

    void map_stage() {
        if (stage_.empty()) return;
        const StageNaming naming = StageNaming::of(names_of(stage_));
        if (model_.naming.empty()) model_.naming = naming.diffusers ? "diffusers" : "compvis";
        for (Stored & stored : stage_) {
            auto targets = map_stage_key(stored.name, naming);
            if (!targets) targets = KeyTargets{{stored.name}};  // kept, so that check_parameters can name it
            if (targets->empty()) {
                ignore(stored);
                continue;
            }
            model_.has_stage = true;
            for (const KeyTarget & target : *targets) {
                // Attention uses 1x1 convolutions in CompVis, linear layers in diffusers.
                const bool linear = stored.info.shape.size() == 2 && target.name.find(".attn_1.") != std::string::npos;
                const bool level_linear = stored.info.shape.size() == 2 && target.name.find(".attn.") != std::string::npos;
                if (linear || level_linear) stored.info.shape.insert(stored.info.shape.end(), 2, 1);
                add(stage_prefix + target.name, stored, target);
            }
        }
    }

    void map_text(size_t which) {
        const std::string base = sgm_ ? "conditioner.embedders." + std::to_string(which) + '.' : "cond_stage_model.";
        for (const Stored & stored : text_[which]) {
            bool open_clip = false;
            auto targets = map_text_key(stored.name, open_clip);
            if (!targets) targets = KeyTargets{{stored.name}};
            if (targets->empty()) {
                ignore(stored);
                continue;
            }
            if (open_clip) model_.open_clip[which] = true;
            for (const KeyTarget & target : *targets) {
                if (starts_with(target.name, "transformer.text_model."))
                    model_.text_prefix[which] = base + "transformer.text_model.";
                add(base + target.name, stored, target);
            }
        }
    }

    void map_image() {
        for (const Stored & stored : image_) {
            auto targets = map_vision_key(stored.name, model_.open_clip_image);
            if (!targets) {
                bool open_clip = false;  // CLIP's other tower
                const auto text = map_text_key(stored.name, open_clip);
                const bool other = text && (text->empty() || starts_with((*text)[0].name, "transformer."));
                targets = other ? KeyTargets{} : KeyTargets{{stored.name}};
            }
            if (targets->empty()) {
                ignore(stored);
                continue;
            }
            model_.has_image = true;
            for (const KeyTarget & target : *targets) add(image_prefix + target.name, stored, target);
        }
    }

    void add(const std::string & name, const Stored & stored, const KeyTarget & target) {
        const TensorInfo & info = stored.info;
        const int64_t rows =
            stored.source->tensors()[info.index].shape.empty() ? 1 : stored.source->tensors()[info.index].shape[0];
        TensorRecipe recipe{name, info.shape, {{stored.source, info.index, 0, rows, stored.scale}}, target.transpose};
        if (target.transpose) std::reverse(recipe.shape.begin(), recipe.shape.end());
        if (target.third >= 0) {
            if (rows % 3 != 0 || recipe.shape.empty()) {
                throw Error(ErrorCode::model_format,
                            stored.source->name() + ": \"" + info.name + "\" does not split into q, k and v");
            }
            recipe.rows[0].begin = rows / 3 * target.third;
            recipe.rows[0].end = rows / 3 * (target.third + 1);
            recipe.shape[0] = rows / 3;
        }
        recipes_.push_back(std::move(recipe));
    }

    /// CompVis stores q, k and v of an AttentionBlock in one tensor, interleaved by head; that tensor and proj_out are Conv1d
    /// weights.
    void fuse() {
        for (TensorRecipe & recipe : recipes_) {
            if (recipe.shape.size() == 2 && fused_.count(attention_of(recipe.name) + ".qkv.weight") &&
                recipe.name == attention_of(recipe.name) + ".proj_out.weight") {
                recipe.shape.push_back(1);
            }
        }
        for (const auto & item : fused_) {
            const auto & parts = item.second.parts;
            const std::string attention = attention_of(item.first);
            if (!parts[0] || !parts[1] || !parts[2]) {
                throw Error(ErrorCode::model_format, "The attention \"" + attention + "\" lacks one of its q, k and v tensors");
            }
            const int64_t channels = parts[0]->info.shape.empty() ? 0 : parts[0]->info.shape[0],
                          width = options_.attention_head_dim;
            if (width <= 0) {
                const Json details = {{"found", "a diffusers UNet2DModel without config.json"},
                                      {"nearest", "unconditional latent diffusion"}};
                throw Error(ErrorCode::unsupported_model,
                            "The U-Net stores q, k and v separately, and the weights do not tell the width of its heads: put its "
                            "config.json next to it",
                            details.dump());
            }
            if (channels < 1 || channels % width != 0) {
                throw Error(ErrorCode::model_format,
                            "The head width " + std::to_string(width) + " does not divide the attention \"" + attention + '"');
            }
            TensorRecipe recipe{item.first, parts[0]->info.shape, {}, false};
            for (int64_t head = 0; head < channels / width; ++head) {
                for (const auto & part : parts) {
                    if (part->info.shape != parts[0]->info.shape) {
                        throw Error(ErrorCode::model_format,
                                    "q, k and v of the attention \"" + attention + "\" have different shapes");
                    }
                    recipe.rows.push_back({part->source, part->info.index, head * width, (head + 1) * width, part->scale});
                }
            }
            recipe.shape[0] = 3 * channels;
            if (recipe.shape.size() == 2) recipe.shape.push_back(1);
            recipes_.push_back(std::move(recipe));
        }
    }

    const CanonicalOptions options_;
    CanonicalModel model_;
    std::vector<Stored> unet_, stage_, image_;
    std::array<std::vector<Stored>, 2> text_;
    bool sgm_ = false;  // towers under "conditioner.embedders."
    std::map<std::string, Stored> ema_;
    std::map<std::string, Fused> fused_;
    std::vector<TensorRecipe> recipes_;
    std::vector<std::string> names_;
    std::string metadata_ = "{}";
};

}  // namespace

CanonicalModel canonicalise(const std::vector<PartSource> & sources, const CanonicalOptions & options) {
    std::set<Part> given;
    for (const PartSource & part : sources) given.insert(part.part);
    if (given.count(Part::text)) given.insert(Part::text_2);
    Canonicaliser canonicaliser(options);
    for (const PartSource & part : sources) canonicaliser.collect(part, given);
    CanonicalModel model = canonicaliser.finish();
    model.text_apart = given.count(Part::whole) && given.count(Part::text);
    return model;
}

}  // namespace latent::formats
