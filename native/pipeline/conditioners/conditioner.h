#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/rng.h"
#include "models/network.h"
#include "pipeline/image/framing.h"
#include "pipeline/memory/part_residency.h"
#include "pipeline/requests.h"

namespace latent::pipeline {

/// The fields of Inputs, in the order in which they are checked.
enum class Input { prompt, embeddings, labels, image, mask, depth, noise_level, sizes };

/// An input that a conditioner reads.
struct InputUse {
    Input input;
    bool required = true;
};

/// What a conditioner contributes to Conditioning, in numbers.
struct ConditioningForm {
    bool tokens = false;  // of cross-attention
    int64_t dim = 0;      // their width, 0: that of the network
    int channels = 0;     // concatenated to the latents
    int classes = 0;      // labels are below; 0: it gives none
    int64_t vector = 0;   // numbers at the end of the vector
};

/// Size of the finished image, where an input sets it.
struct InputSize {
    const char * what;  // "image", "label map"
    int64_t width, height;
};

/// What Conditioning is made for, beside the inputs.
struct EncodeContext {
    const Frame & frame;
    int64_t pictures;     // of the batch
    NoiseSource & noise;  // drawn from where an image is augmented with noise; nothing else is random
    const JobContext & job;
};

/// One way from what the user gives to what the denoising network reads. A model has one or several; each fills its part of a
/// Conditioning.
class Conditioner {
public:
    virtual ~Conditioner() = default;

    /// Its networks, none where the input is taken as it is.
    virtual std::vector<models::Network *> networks() const { return {}; }
    /// Memory and work of one call of each network for an image of this size.
    virtual std::vector<std::pair<const models::Network *, graph::GraphMeasure>> measure(int64_t width, int64_t height) const;

    /// "a prompt", in a refusal: "this model takes a prompt". Empty if it reads nothing.
    virtual std::string takes() const = 0;
    virtual std::vector<InputUse> reads() const = 0;
    virtual ConditioningForm form() const = 0;
    /// Why the rest of the model does not go with it, empty if it does.
    virtual std::string misfit(const ModelSpec &) const { return ""; }
    /// Its fields of `info().condition` of the contract.
    virtual void info(Json &) const {}
    /// The size that its input sets.
    virtual std::optional<InputSize> size(const Inputs &) const { return std::nullopt; }

    /// Throws invalid_argument for inputs of a wrong size or range. Those that are required are there. `images`: the batch that
    /// the conditioning is for; image and mask have one row or as many.
    virtual void check(const Inputs & inputs, int64_t pictures) const = 0;
    /// Adds its part to `out`. The inputs are checked.
    virtual void encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) = 0;
    /// Adds its part of the other half of guidance: `negative`, or what stands for no input. What both halves see (channels,
    /// class) is in the conditional half alone.
    virtual void encode_unconditional(const Inputs & inputs, const std::optional<PromptTokens> & negative,
                                      const EncodeContext & context, Conditioning & out);
};

/// Throws invalid_argument unless `image` has `channels`, a size, and one row or one per image.
void check_image(const ImageTensor & image, const char * what, int64_t channels, int64_t pictures);

}  // namespace latent::pipeline
