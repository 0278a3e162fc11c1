#include "formats/spec/few_step.h"

#include <algorithm>

#include "formats/spec/config.h"

namespace latent::formats {
namespace {

/// Sampler and its settings, without guidance unless the network takes the guidance scale as an input.
void use(ModelSpec & spec, const char * sampler, int steps, double eta = 0, const char * schedule = "",
         std::vector<double> timesteps = {}) {
    spec.sampler = sampler;
    spec.sampling_schedule = schedule;
    spec.sampling_timesteps = std::move(timesteps);
    spec.steps = spec.sampling_timesteps.empty() ? steps : static_cast<int>(spec.sampling_timesteps.size());
    spec.eta = eta;
    if (!spec.unet || spec.unet->guidance_embed_dim == 0) spec.guidance_scale = 1;
}

using Words = std::vector<std::string>;

/// Lower-case words and numbers: "SDXL-Lightning_4step" -> sdxl lightning 4 step.
Words words_of(const std::string & text) {
    enum class Kind { other, letter, digit };
    const auto kind_of = [](char c) {
        return c >= '0' && c <= '9' ? Kind::digit : (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ? Kind::letter : Kind::other;
    };
    Words words;
    Kind before = Kind::other;
    for (const char c : text) {
        const Kind kind = kind_of(c);
        const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        // "dmd2" and "v1" are one word, "4step" are two.
        const bool begins = before == Kind::other || (before == Kind::digit && kind == Kind::letter);
        if (kind != Kind::other && begins) words.emplace_back();
        if (kind != Kind::other) words.back() += lower;
        before = kind;
    }
    return words;
}

bool has(const Words & words, const char * word) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

/// The number before "step" or "steps", 0 if there is none.
int steps_in(const Words & words) {
    for (size_t i = 1; i < words.size(); ++i) {
        if (words[i] != "step" && words[i] != "steps") continue;
        const std::string & number = words[i - 1];
        if (number.size() == 1 && number[0] >= '1' && number[0] <= '9') return number[0] - '0';
    }
    return 0;
}

/// Titles of Stability's own two models. Many fine-tunes have "turbo" in their names and take other settings.
bool is_turbo(Words words) {
    const auto is_version = [](const std::string & word) { return word.find_first_of("0123456789") != std::string::npos; };
    while (words.size() > 2 && is_version(words.back())) words.pop_back();
    if (words.empty() || words.back() != "turbo") return false;
    words.pop_back();
    return words == Words{"sd"} || words == Words{"sdxl"} || words == Words{"sd", "xl"} ||
           words == Words{"stable", "diffusion"} || words == Words{"stable", "diffusion", "xl"};
}

void apply_title(ModelSpec & spec, const Words & words) {
    const int steps = steps_in(words);
    const bool two_powers = steps == 1 || steps == 2 || steps == 4 || steps == 8;
    if (has(words, "lightning") && two_powers) {
        use(spec, "euler", steps, 0, "trailing");
        if (steps == 1 && spec.prediction == Prediction::eps) spec.prediction = Prediction::sample;
    } else if (has(words, "hyper") && two_powers) {
        // Euler's last step ends at no noise, as DDIM's does with an alpha of 1.
        if (steps == 1)
            use(spec, "lcm", 1, 0, "", {800});
        else
            use(spec, "euler", steps, 0, "trailing");
    } else if (has(words, "dmd2")) {
        use(spec, "lcm", 4, 0, "", steps == 1 ? std::vector<double>{399} : std::vector<double>{999, 749, 499, 249});
    } else if (has(words, "lcm")) {
        use(spec, "lcm", 4);
    } else if (has(words, "tcd")) {
        use(spec, "tcd", 4, 0.3);
    } else if (is_turbo(words)) {
        use(spec, "euler_a", 1, 1, "trailing");
    }
}

bool is_stable_diffusion(const ModelSpec & spec) {
    return spec.unet && !spec.schedule.edm && (spec.family == "sd1" || spec.family == "sd2" || spec.family == "sdxl");
}

}  // namespace

void apply_sdxs_defaults(ModelSpec & spec) {
    if (spec.name.rfind("SDXS", 0) == 0) use(spec, "euler", 1, 0, "", {999});
}

void apply_scheduler_defaults(ModelSpec & spec, const Json & config) {
    if (config.is_null() || spec.schedule.edm) return;
    const std::string name = text_at(config, "_class_name");
    if (name == "LCMScheduler") use(spec, "lcm", 4);
    if (name == "TCDScheduler") use(spec, "tcd", 4, 0.3);
    if (text_at(config, "timestep_spacing") != "trailing" || !is_stable_diffusion(spec)) return;
    const bool ancestral = name == "EulerAncestralDiscreteScheduler";
    if (!ancestral && name != "EulerDiscreteScheduler" && name != "DDIMScheduler") return;
    spec.sampler = ancestral ? "euler_a" : name == "DDIMScheduler" ? "ddim" : "euler";
    spec.eta = ancestral ? 1 : 0;
    spec.sampling_schedule = "trailing";
    spec.sampling_timesteps.clear();
}

void apply_title_defaults(ModelSpec & spec, const Json & metadata) {
    if (!metadata.is_object() || !is_stable_diffusion(spec) || spec.kind == "superres") return;
    for (const char * key : {"modelspec.title", "general.name"}) {
        const auto title = metadata.find(key);
        if (title != metadata.end() && title->is_string()) apply_title(spec, words_of(title->get<std::string>().substr(0, 256)));
    }
}

}  // namespace latent::formats
