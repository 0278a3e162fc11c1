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

/// Sizes of a conditioner's contribution to Conditioning.
struct ConditioningForm {
    bool tokens = false;  // makes tokens of cross-attention
    int64_t dim = 0;      // width of the tokens, 0: that of the network
    int channels = 0;     // channels concatenated to the latents
    int classes = 0;      // number of class labels; 0: it makes none
    int64_t vector = 0;   // length of its part of the vector
};

/// Size of the final image, if an input determines it.
struct InputSize {
    const char * what;  // "image", "label map"
    int64_t width, height;
};

/// Settings for making Conditioning besides the inputs.
struct EncodeContext {
    const Frame & frame;
    int64_t pictures;     // in the batch
    NoiseSource & noise;  // used only to augment an image with noise
    const JobContext & job;
};

/// Turns one kind of user input into conditioning of the denoising network. A model has one or several; each fills its part of a
/// Conditioning.
class Conditioner {
public:
    virtual ~Conditioner() = default;

    /// Its networks; none if the input is used directly.
    virtual std::vector<models::Network *> networks() const { return {}; }
    /// Memory and work of one call of each network for an image of this size.
    virtual std::vector<std::pair<const models::Network *, graph::GraphMeasure>> measure(int64_t width, int64_t height) const;

    /// "a prompt", for the message "this model takes a prompt". Empty if it reads nothing.
    virtual std::string takes() const = 0;
    virtual std::vector<InputUse> reads() const = 0;
    virtual ConditioningForm form() const = 0;
    /// Why the rest of the model does not fit it, empty if it does.
    virtual std::string misfit(const ModelSpec &) const { return ""; }
    /// Its fields of `info().condition` of the contract.
    virtual void info(Json &) const {}
    /// The size that its input determines.
    virtual std::optional<InputSize> size(const Inputs &) const { return std::nullopt; }

    /// Throws invalid_argument for inputs of a wrong size or range. Required inputs are present. `images`: batch size of the
    /// conditioning; image and mask have one row or as many.
    virtual void check(const Inputs & inputs, int64_t pictures) const = 0;
    /// Adds its part to `out`. The inputs are checked already.
    virtual void encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) = 0;
    /// Adds its part of the unconditional half of guidance: `negative`, or the representation of no input. Parts used by both
    /// halves (channels, class) are only in the conditional half.
    virtual void encode_unconditional(const Inputs & inputs, const std::optional<PromptTokens> & negative,
                                      const EncodeContext & context, Conditioning & out);
};

/// Throws invalid_argument unless `image` has `channels`, a size, and one row or one per image.
void check_image(const ImageTensor & image, const char * what, int64_t channels, int64_t pictures);

}  // namespace latent::pipeline
