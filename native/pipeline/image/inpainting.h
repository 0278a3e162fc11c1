#pragma once

#include "pipeline/requests.h"

namespace latent::pipeline {

/// Conventions in which the two inpainting models differ (scripts/inpaint.py; Stable Diffusion's inpainting model).
struct InpaintingForm {
    float hole;               // the image's value inside the hole: black or grey
    float mask_out, mask_in;  // the mask's channel outside and inside the hole
    bool mask_first;          // the mask's channel comes before those of the masked image
    bool scaled;              // the masked image's latents include the scale factor

    /// inpainting_big, scripts/inpaint.py
    static InpaintingForm latent_diffusion() { return {-1.0f, -1.0f, 1.0f, false, false}; }
    /// Stable Diffusion 1 and 2, scripts/inpaint_st.py
    static InpaintingForm stable_diffusion() { return {0.0f, 0.0f, 1.0f, true, true}; }
};

/// A mask with values 0 and 1, thresholded at 0.5; NaN becomes 0.
void binarise(ImageTensor & mask);

/// The image [n, c, h, w] with `hole` where the mask [n or 1, 1, h, w] is 1.
ImageTensor with_hole(const ImageTensor & image, const ImageTensor & mask, float hole);

/// The channels that inpainting concatenates, [n, c + 1, h, w]: the masked image's latents [n, c, h, w] and the mask, resized to
/// their size by nearest-neighbour sampling (torch's interpolate).
Latents inpainting_channels(const InpaintingForm & form, const Latents & code, const ImageTensor & mask);

/// The hole in latent pixels [n, 1, h, w]: 1 where any of the mask's pixels below is 1.
Latents latent_hole(const ImageTensor & mask, int64_t h, int64_t w);

/// Restores the original wherever the mask is 0, bit for bit.
void keep_outside(ImageTensor & picture, const ImageTensor & original, const ImageTensor & mask);

}  // namespace latent::pipeline
