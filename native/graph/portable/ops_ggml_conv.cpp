#include <algorithm>
#include <climits>

#include "graph/portable/ops_ggml.h"

// Convolutions: unfold (im2col) in float32, multiply by the weight matrix, move the channels back to the front.
//   unfolded [in*k*k, pixels] -> W * unfolded [out, pixels] -> [pixels, out]
// Bias and time embedding are added while channels are innermost, where ggml's broadcast is fast.

namespace latent::graph {

struct OpsGgml::ConvShape {
    int kernel = 1, stride = 1;
    int64_t pad = 0;                      // on every side
    bool upsample = false;                // done later, per band
    int64_t in_width = 0, in_height = 0;  // after upsampling
    int64_t out_width = 0, out_height = 0;
};

Map OpsGgml::conv(Map x, const Conv & w, const ConvOptions & options) {
    room(64);
    if (x.channels != w.in) {
        throw Error(ErrorCode::internal, "\"" + w.weight->name + "\" expects " + std::to_string(w.in) + " channels, got " +
                                             std::to_string(x.channels));
    }
    ggml_tensor * t = tensor(x.id);
    ConvShape shape;
    shape.kernel = w.kernel;
    shape.stride = options.stride;
    shape.pad = options.padding == Padding::same ? (w.kernel - 1) / 2 : 0;
    shape.upsample = options.upsample;
    if (options.upsample && (options.crop_width || options.crop_height)) {
        t = ggml_upscale(nodes_, t, 2, GGML_SCALE_MODE_NEAREST);
        const int64_t width = options.crop_width ? options.crop_width : t->ne[0];
        const int64_t height = options.crop_height ? options.crop_height : t->ne[1];
        t = ggml_cont(nodes_, ggml_view_4d(nodes_, t, width, height, t->ne[2], t->ne[3], t->nb[1], t->nb[2], t->nb[3], 0));
        shape.upsample = false;
    }
    if (options.padding == Padding::right_bottom) t = ggml_pad(nodes_, t, 1, 1, 0, 0);
    shape.in_width = t->ne[0] * (shape.upsample ? 2 : 1);
    shape.in_height = t->ne[1] * (shape.upsample ? 2 : 1);
    shape.out_width = (shape.in_width + 2 * shape.pad - w.kernel) / options.stride + 1;
    shape.out_height = (shape.in_height + 2 * shape.pad - w.kernel) / options.stride + 1;

    ggml_tensor * channel_add = options.channel_add ? tensor(options.channel_add.id) : nullptr;
    const uint64_t unfolded =
        sizeof(float) * static_cast<uint64_t>(w.weight->inner()) * shape.out_width * shape.out_height * x.batch;
    const bool wide =
        sizeof(float) * static_cast<uint64_t>(shape.in_width) * shape.in_height * x.channels > INT_MAX;  // im2col's stride
    ggml_tensor * y = nullptr;
    if (w.kernel == 1 && options.stride == 1 && !shape.upsample) {
        y = conv_pointwise(t, w, channel_add);
    } else if (unfolded <= limits_.conv_scratch && !wide) {
        y = conv_whole(t, w, shape, channel_add);
    } else {
        y = conv_banded(t, w, shape, channel_add);
    }
    if (options.rows) {
        y = ggml_cont(nodes_, ggml_view_4d(nodes_, y, y->ne[0], options.rows, y->ne[2], y->ne[3], y->nb[1], y->nb[2], y->nb[3],
                                           static_cast<size_t>(options.first_row) * y->nb[1]));
    }
    y = activate(y, options.activation);
    if (options.residual) y = ggml_add_inplace(nodes_, y, tensor(options.residual.id));
    return map(y);
}

ggml_tensor * OpsGgml::conv_pointwise(ggml_tensor * x, const Conv & w, ggml_tensor * channel_add) {
    const int64_t width = x->ne[0], height = x->ne[1], batch = x->ne[3];
    ggml_tensor * pixels = transposed(ggml_reshape_3d(nodes_, x, width * height, w.in, batch));  // [in, w*h, n]
    ggml_tensor * y = multiply(w, pixels);                                                       // [out, w*h, n]
    if (channel_add) y = ggml_add_inplace(nodes_, y, channel_add);
    return ggml_reshape_4d(nodes_, transposed(y), width, height, w.out, batch);
}

ggml_tensor * OpsGgml::conv_whole(ggml_tensor * x, const Conv & w, const ConvShape & shape, ggml_tensor * channel_add) {
    const int64_t batch = x->ne[3], pixels = shape.out_width * shape.out_height;
    const int stride = shape.stride, pad = static_cast<int>(shape.pad);
    if (shape.upsample) x = ggml_upscale(nodes_, x, 2, GGML_SCALE_MODE_NEAREST);
    ggml_tensor * unfolded =
        ggml_im2col(nodes_, kernel_shape(w.kernel, w.in), x, stride, stride, pad, pad, 1, 1, true, GGML_TYPE_F32);
    unfolded = ggml_reshape_3d(nodes_, unfolded, w.weight->inner(), pixels, batch);
    ggml_tensor * y = multiply(w, unfolded);  // [out, pixels, n]
    if (channel_add) y = ggml_add_inplace(nodes_, y, channel_add);
    return ggml_reshape_4d(nodes_, transposed(y), shape.out_width, shape.out_height, w.out, batch);
}

// A limited number of rows of one image at a time, so that the unfolded input stays within its limit for any map size.
ggml_tensor * OpsGgml::conv_banded(ggml_tensor * x, const Conv & w, const ConvShape & shape, ggml_tensor * channel_add) {
    const int64_t batch = x->ne[3];
    const uint64_t row_bytes = sizeof(float) * static_cast<uint64_t>(w.weight->inner()) * shape.out_width;
    const int64_t band = std::clamp<int64_t>(static_cast<int64_t>(limits_.conv_scratch / row_bytes), 1, shape.out_height);
    ggml_tensor * out = unset(shape.out_width, shape.out_height, w.out, batch);
    ggml_tensor * written = nullptr;
    for (int64_t n = 0; n < batch; ++n) {
        ggml_tensor * image =
            ggml_view_3d(nodes_, x, x->ne[0], x->ne[1], x->ne[2], x->nb[1], x->nb[2], static_cast<size_t>(n) * x->nb[3]);
        ggml_tensor * add = nullptr;
        if (channel_add) add = ggml_view_1d(nodes_, channel_add, w.out, static_cast<size_t>(n) * channel_add->nb[2]);
        for (int64_t row = 0; row < shape.out_height; row += band) {
            room(24);
            const int64_t rows = std::min(band, shape.out_height - row);
            ggml_tensor * y = conv_band(image, w, shape, row, rows);  // [out, pixels]
            if (add) y = ggml_add_inplace(nodes_, y, add);
            ggml_tensor * place = ggml_view_2d(nodes_, out, shape.out_width * rows, w.out, out->nb[2],
                                               static_cast<size_t>(n) * out->nb[3] + static_cast<size_t>(row) * out->nb[1]);
            written = ggml_cpy(nodes_, ggml_permute(nodes_, y, 1, 0, 2, 3), ordered(place, written));
            expand(written);
        }
    }
    return ordered(
        ggml_view_4d(nodes_, out, out->ne[0], out->ne[1], out->ne[2], out->ne[3], out->nb[1], out->nb[2], out->nb[3], 0),
        written);
}

/// Output rows [row, row + rows) of one image, [out, width * rows].
ggml_tensor * OpsGgml::conv_band(ggml_tensor * image, const Conv & w, const ConvShape & shape, int64_t row, int64_t rows) {
    // Input rows that the band reads, in rows of the (upsampled) map; those outside it are zeros.
    const int64_t wanted_first = row * shape.stride - shape.pad;
    const int64_t wanted_last = (row + rows - 1) * shape.stride - shape.pad + shape.kernel;
    const int64_t first = std::max<int64_t>(wanted_first, 0), last = std::min(wanted_last, shape.in_height);
    ggml_tensor * source = nullptr;
    if (shape.upsample) {
        const int64_t low = first / 2, high = (last + 1) / 2;
        ggml_tensor * part = ggml_view_3d(nodes_, image, image->ne[0], high - low, image->ne[2], image->nb[1], image->nb[2],
                                          static_cast<size_t>(low) * image->nb[1]);
        part = ggml_upscale(nodes_, part, 2, GGML_SCALE_MODE_NEAREST);
        source = ggml_view_3d(nodes_, part, part->ne[0], last - first, part->ne[2], part->nb[1], part->nb[2],
                              static_cast<size_t>(first - 2 * low) * part->nb[1]);
    } else {
        source = ggml_view_3d(nodes_, image, image->ne[0], last - first, image->ne[2], image->nb[1], image->nb[2],
                              static_cast<size_t>(first) * image->nb[1]);
    }
    // im2col pads top and bottom equally: pad by the larger amount, then skip the extra output rows.
    const int64_t missing_top = first - wanted_first;
    int64_t pad = std::max(missing_top, wanted_last - last);
    while ((pad - missing_top) % shape.stride != 0) ++pad;
    const int64_t skip = (pad - missing_top) / shape.stride;
    ggml_tensor * unfolded = ggml_im2col(nodes_, kernel_shape(w.kernel, w.in), contiguous(source), shape.stride, shape.stride,
                                         static_cast<int>(shape.pad), static_cast<int>(pad), 1, 1, true, GGML_TYPE_F32);
    ggml_tensor * columns = ggml_view_2d(nodes_, unfolded, unfolded->ne[0], shape.out_width * rows, unfolded->nb[1],
                                         static_cast<size_t>(skip) * unfolded->nb[2]);
    return multiply(w, columns);
}

}  // namespace latent::graph
