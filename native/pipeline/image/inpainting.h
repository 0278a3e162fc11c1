#pragma once

#include "pipeline/requests.h"

namespace latent::pipeline {

/// The two inpainting models differ in everything but the idea (scripts/inpaint.py; Stable Diffusion's inpainting model).
struct InpaintingForm {
    float hole;               // what the image is in the hole: black, or grey
    float mask_out, mask_in;  // the mask's channel outside and inside the hole
    bool mask_first;          // the mask's channel comes before those of the masked image
    bool scaled;              // the masked image's latents are times the scale factor

    /// inpainting_big, scripts/inpaint.py
    static InpaintingForm latent_diffusion() { return {-1.0f, -1.0f, 1.0f, false, false}; }
    /// Stable Diffusion 1 and 2, scripts/inpaint_st.py
    static InpaintingForm stable_diffusion() { return {0.0f, 0.0f, 1.0f, true, true}; }
};

/// A mask as 0 and 1, split at 0.5; NaN is 0.
void binarise(ImageTensor & mask);

/// The image [n, c, h, w] with `hole` where the mask [n or 1, 1, h, w] is 1.
ImageTensor with_hole(const ImageTensor & image, const ImageTensor & mask, float hole);

/// The channels that inpainting concatenates, [n, c + 1, h, w]: the masked image's code [n, c, h, w] and the mask, reduced to
/// the code's size by taking the nearest pixel (torch's interpolate).
Latents inpainting_channels(const InpaintingForm & form, const Latents & code, const ImageTensor & mask);

/// The hole in latent pixels [n, 1, h, w]: 1 where any of the mask's pixels under it is 1.
Latents latent_hole(const ImageTensor & mask, int64_t h, int64_t w);

/// Puts the original back wherever the mask is 0: those pixels are the original's, bit for bit.
void keep_outside(ImageTensor & picture, const ImageTensor & original, const ImageTensor & mask);

}  // namespace latent::pipeline
