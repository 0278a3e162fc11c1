#pragma once

#include <stddef.h>
#include <stdint.h>

// The CUDA engine as a plain C function table. latent-cuda.so (.dll) exports one symbol, latent_cuda_open, which returns the
// table. The library loads without a driver; device_count() then tells why there is no device. Functions do not throw, print or
// exit.
//
// Values. A value of a program is rows of channels, [batch, length, channels], channels innermost: a map's pixels, one row of
// the image after another (length = height * width), or tokens. A map and its pixels as tokens are therefore the same value;
// operations on images are told height and width. On the device a value is bfloat16 (or float16, as the device was opened), or
// float32 if it is a vector per image (length 1 and few rows), with channels padded to a multiple of 8; the host does not see
// this. Concatenations of channels, reinterpretations, and additions to the result of a product are fused into the operations
// that read or write them.
//
// Recording. program_create, any inputs and operations, outputs, then program_measure (bytes, no memory taken; tensors need not
// be loaded) or program_finish (memory taken, launches captured as CUDA graphs; every tensor must be loaded). Recording functions
// check shapes and return LATENT_CUDA_INVALID with a message; after that the program can only be destroyed.
//
// Running. set inputs (they keep their values between runs), program_run, get outputs. Calls on one device and its objects must
// come from one thread at a time; different devices are independent.
//
// Ownership. The caller owns what *_create, device_open and tensor_declare return and releases it with the counterpart; programs
// and tensors before their device. Programs do not own tensors: once a tensor that they use is unloaded, they must be destroyed
// or not be run (program_run then returns LATENT_CUDA_INVALID). Host pointers are read or written only during the call. Strings
// are UTF-8 and copied.

#ifdef __cplusplus
extern "C" {
#endif

#define LATENT_CUDA_VERSION 5u

/// Status of every function; last_error() has the message and numbers.
enum latent_cuda_status {
    LATENT_CUDA_OK = 0,
    LATENT_CUDA_INVALID = 1,        // a mistake by the caller: shapes, order of calls, a stale program
    LATENT_CUDA_NO_DEVICE = 2,      // no driver, a driver that is too old, no such device, or a device older than sm_80
    LATENT_CUDA_OUT_OF_MEMORY = 3,  // the device or pinned host memory; the device stays usable
    LATENT_CUDA_DEVICE_FAILED = 4,  // a launch or copy failed; the device must be closed
    LATENT_CUDA_CANCELLED = 5,      // requested by the callback of program_run; the device stays usable
    LATENT_CUDA_UNSUPPORTED = 6,    // a valid request without a kernel (a head of 600 channels, an unknown type)
};

struct latent_cuda_error {
    int32_t status;         // of the last failed call in this thread
    int32_t driver_code;    // cudaError_t of a failed driver call, else 0
    uint64_t wanted_bytes;  // with OUT_OF_MEMORY
    uint64_t free_bytes;    // with OUT_OF_MEMORY, at that moment
    uint64_t total_bytes;   // with OUT_OF_MEMORY
    char message[512];      // what, where, and what to do; ends with 0
};

/// Element types of weights as stored in a file. The numbers are specific to this table.
enum latent_cuda_type {
    LATENT_CUDA_F32 = 0,
    LATENT_CUDA_F16 = 1,
    LATENT_CUDA_BF16 = 2,
    LATENT_CUDA_Q8_0 = 3,  // ggml's block formats
    LATENT_CUDA_Q4_0 = 4,
    LATENT_CUDA_Q4_K = 5,
};

/// The use of a tensor, which determines its possible types and its layout on the device.
enum latent_cuda_role {
    LATENT_CUDA_MATRIX = 0,  // convolution [out, in, kernel, kernel] or linear layer [out, in] (kernel 1): any type. Stays
                             // quantised if it is, else becomes the device's element type
    LATENT_CUDA_VECTOR = 1,  // bias, norm: [out], in = 1; F32, F16, BF16; float32 on the device
    LATENT_CUDA_EMBEDDING =
        2,  // table that is looked up or added by row: [out rows, in channels]; F32, F16, BF16, kept unchanged
};

enum latent_cuda_activation {
    LATENT_CUDA_NONE = 0,
    LATENT_CUDA_SILU = 1,
    LATENT_CUDA_GELU = 2,  // exact, by erf
    LATENT_CUDA_QUICK_GELU = 3,
    LATENT_CUDA_RELU = 4,
};

enum latent_cuda_padding {
    LATENT_CUDA_SAME = 0,          // (kernel - 1) / 2 on every side
    LATENT_CUDA_RIGHT_BOTTOM = 1,  // 1 on the right and at the bottom
    LATENT_CUDA_VALID = 2,         // none
};

struct latent_cuda_device_info {
    char name[128];  // "NVIDIA H200"
    char uuid[48];   // "GPU-..."; empty if unavailable
    int32_t compute_major, compute_minor;
    int32_t multiprocessors;
    int32_t driver_version;  // 13000 is 13.0
    uint64_t memory_total;   // bytes
    int32_t usable;          // 0: device_open would fail, for the reason in `why`
    char why[256];
};

/// Bytes on one device.
struct latent_cuda_memory {
    uint64_t total, free;  // of the device, now
    uint64_t weights;      // held by loaded tensors
    uint64_t programs;     // held by finished programs: values, inputs, outputs, work space
    uint64_t other;        // staging memory kept by the device
    uint64_t peak;         // maximum of weights + programs + other since device_open or memory_reset_peak
    uint64_t host_pinned;  // page-locked bytes of the host
};

typedef struct latent_cuda_device latent_cuda_device;
typedef struct latent_cuda_tensor latent_cuda_tensor;
typedef struct latent_cuda_program latent_cuda_program;
/// A value of a program; -1: none.
typedef int32_t latent_cuda_value;

struct latent_cuda_tensor_desc {
    int32_t type;    // latent_cuda_type
    int32_t role;    // latent_cuda_role
    int64_t out;     // rows
    int64_t in;      // channels of a row; of a vector 1
    int32_t kernel;  // side of a convolution's kernel (1 to 32), else 1
};

/// What an adapter (LoRA) adds to a layer's product: low[first, first + in) up^T, with the rows of the result. Computed as
/// further columns of the layer's own sum.
struct latent_cuda_side {
    latent_cuda_value low;          // [batch, length of the result, channels]: the layer's input through the lower factor;
                                    // layers with the same input may share it
    const latent_cuda_tensor * up;  // matrix [rows of the layer's matrix, in] of kernel 1, not quantised; null: no side
    int64_t first;                  // a multiple of 8
};

/// Convolution. x: [batch, height * width, in], result: [batch, out_height * out_width, out].
struct latent_cuda_conv {
    latent_cuda_value x;
    const latent_cuda_tensor * weight;  // matrix
    const latent_cuda_tensor * gain;    // vector [out] of an adapter, or null: multiplies the whole sum, before the bias
    const latent_cuda_tensor * bias;    // vector, or null
    int64_t height, width;              // of x
    int32_t stride;                     // 1 or more
    int32_t padding;                    // latent_cuda_padding
    int32_t upsample;                   // 1: nearest, twice the size, before the convolution
    int64_t crop_height, crop_width;    // with upsample: size of the part of the upsampled map to use; 0: all of it
    int64_t first_row, rows;            // part of the result to compute: `rows` rows from `first_row`; rows 0: all
    int32_t activation;                 // after bias and channel_add
    latent_cuda_value channel_add;      // [batch, 1, out], added to every pixel; -1: none
    latent_cuda_value residual;         // like the result, added after the activation; -1: none
    struct latent_cuda_side side;
};

/// gain * x W^T + bias, activation, + residual. x: [batch, length, in], result: [batch, length, out]; with geglu the matrix has
/// 2 * out rows, value before gate, and the result is value * gelu(gate).
struct latent_cuda_linear {
    latent_cuda_value x;
    const latent_cuda_tensor * weight;  // matrix; its kernel must be 1
    const latent_cuda_tensor * gain;    // as of a convolution, or null
    const latent_cuda_tensor * bias;    // or null
    int32_t activation;
    int32_t geglu;
    latent_cuda_value residual;  // -1: none
    struct latent_cuda_side side;
};

/// A square matrix with blocks on its diagonal: x + W x + bias. A block reads and writes `size` channels in a row, or, with a
/// distance, two runs of size / 2 channels, so far apart; blocks between the runs of another follow each other.
struct latent_cuda_blocks {
    latent_cuda_value x;
    const latent_cuda_tensor * weight;  // matrix [channels, size] of kernel 1, not quantised, or [size, size]: one for all blocks
    const latent_cuda_tensor * bias;    // vector [channels], or null
    int64_t size;                       // divides the channels
    int64_t distance;                   // 0, or a multiple of size / 2 of which 2 * distance divides the channels
};

/// Normalises over groups of channels and all pixels of an image: norm(x) * weight + bias, * (1 + scale) + shift, activation.
struct latent_cuda_group_norm {
    latent_cuda_value x;
    const latent_cuda_tensor * weight;
    const latent_cuda_tensor * bias;
    int32_t groups;  // divides the channels
    float eps;
    int32_t activation;
    latent_cuda_value scale, shift;  // [batch, 1, channels]; both or -1
};

/// softmax(q k^T / sqrt(dim / heads)) v with heads side by side in dim. q: [batch, length, dim], k, v: [batch, keys, dim].
struct latent_cuda_attention {
    latent_cuda_value q, k, v;
    int32_t heads;
    int32_t causal;  // 1: a query attends to keys up to its own position
};

struct latent_cuda_measure {
    uint64_t bytes;         // values, inputs, outputs and work space, without weights
    uint64_t pinned_bytes;  // of the host
    double flops;           // 2 per multiply-add of convolutions, linear layers and attention
    int32_t launches;       // kernels per run
    int32_t slices;         // CUDA graphs per run; cancellation is checked between them
};

/// One kernel of a profiled run, in the order of execution.
struct latent_cuda_launch_time {
    char label[96];       // "conv 3x3 320>320 64x64"
    double milliseconds;  // by device events
    double flops;
};

struct latent_cuda_api {
    uint32_t version;  // LATENT_CUDA_VERSION of the library
    uint32_t size;     // of this struct in the library

    /// Message and numbers of the last failure in this thread.
    void (*last_error)(struct latent_cuda_error * error);

    // ---- devices ----
    /// Number of devices that the driver lists; NO_DEVICE with the reason if there is no driver or no device.
    int (*device_count)(int32_t * count);
    int (*device_info)(int32_t index, struct latent_cuda_device_info * info);
    /// `element`: LATENT_CUDA_BF16 or LATENT_CUDA_F16, the type of values and of weights that are not quantised. Creates a stream
    /// and little else.
    int (*device_open)(int32_t index, int32_t element, latent_cuda_device ** device);
    void (*device_close)(latent_cuda_device * device);
    int (*device_memory)(latent_cuda_device * device, struct latent_cuda_memory * memory);
    void (*memory_reset_peak)(latent_cuda_device * device);
    /// Frees staging memory.
    void (*device_trim)(latent_cuda_device * device);

    // ---- weights, tensor by tensor ----
    /// 1 if tensor_declare accepts this type for this role, else 0.
    int (*type_supported)(int32_t type, int32_t role);
    /// Declares a tensor without allocating device memory. UNSUPPORTED if type_supported returns 0 or blocks do not divide a row
    /// (in * kernel * kernel elements).
    int (*tensor_declare)(latent_cuda_device * device, const struct latent_cuda_tensor_desc * desc, latent_cuda_tensor ** tensor);
    /// Takes memory for tensors of this device together, and unloads them. A tensor without memory takes its own in tensor_load.
    int (*tensors_allocate)(latent_cuda_device * device, latent_cuda_tensor * const * tensors, int32_t count);
    /// `data`: all rows as in a file, row-major, exactly `bytes` bytes. Copies and repacks on the device. Loading again replaces
    /// the values and keeps the address.
    int (*tensor_load)(latent_cuda_tensor * tensor, const void * data, uint64_t bytes);
    /// Frees its memory; that of tensors_allocate with the last of its tensors.
    void (*tensor_unload)(latent_cuda_tensor * tensor);
    /// Bytes on the device, loaded or not.
    uint64_t (*tensor_bytes)(const latent_cuda_tensor * tensor);
    /// The values of a loaded vector or embedding as float32.
    int (*tensor_read)(const latent_cuda_tensor * tensor, float * out, uint64_t count);
    /// Unloads first. Null is allowed.
    void (*tensor_free)(latent_cuda_tensor * tensor);

    // ---- recording ----
    int (*program_create)(latent_cuda_device * device, latent_cuda_program ** program);
    /// Null is allowed.
    void (*program_destroy)(latent_cuda_program * program);

    /// The host's data are float32 planes [batch, channels, height, width].
    int (*input_map)(latent_cuda_program * program, const char * name, int64_t batch, int64_t channels, int64_t height,
                     int64_t width, latent_cuda_value * value);
    /// The host's data are float32 [batch, length, channels].
    int (*input_seq)(latent_cuda_program * program, const char * name, int64_t batch, int64_t length, int64_t channels,
                     latent_cuda_value * value);
    /// int32 [batch, length]; only embed() reads it. Ids must be inside the table (the caller checks).
    int (*input_ids)(latent_cuda_program * program, const char * name, int64_t batch, int64_t length, latent_cuda_value * value);
    /// As float32 planes [batch, channels, height, width].
    int (*output_map)(latent_cuda_program * program, const char * name, latent_cuda_value x, int64_t height, int64_t width);
    /// As float32 [batch, length, channels].
    int (*output_seq)(latent_cuda_program * program, const char * name, latent_cuda_value x);

    int (*conv)(latent_cuda_program * program, const struct latent_cuda_conv * conv, latent_cuda_value * value);
    int (*linear)(latent_cuda_program * program, const struct latent_cuda_linear * linear, latent_cuda_value * value);
    int (*group_norm)(latent_cuda_program * program, const struct latent_cuda_group_norm * norm, latent_cuda_value * value);
    int (*layer_norm)(latent_cuda_program * program, latent_cuda_value x, const latent_cuda_tensor * weight,
                      const latent_cuda_tensor * bias, float eps, latent_cuda_value * value);
    int (*attention)(latent_cuda_program * program, const struct latent_cuda_attention * attention, latent_cuda_value * value);
    /// x * scale + shift, activation. scale, shift: [batch, 1, channels].
    int (*affine)(latent_cuda_program * program, latent_cuda_value x, latent_cuda_value scale, latent_cuda_value shift,
                  int32_t activation, latent_cuda_value * value);
    int (*activation)(latent_cuda_program * program, latent_cuda_value x, int32_t activation, latent_cuda_value * value);
    /// b: like a, or [batch, 1, channels]: added to every row of an image.
    int (*add)(latent_cuda_program * program, latent_cuda_value a, latent_cuda_value b, latent_cuda_value * value);
    /// Channels of a, then of b. Costs nothing if a norm or a convolution reads it.
    int (*concat_channels)(latent_cuda_program * program, latent_cuda_value a, latent_cuda_value b, latent_cuda_value * value);
    /// Tokens of a, then of b.
    int (*concat_tokens)(latent_cuda_program * program, latent_cuda_value a, latent_cuda_value b, latent_cuda_value * value);
    /// Means of 2x2 pixels, stride 2; an odd last row or column is dropped.
    int (*avg_pool2)(latent_cuda_program * program, latent_cuda_value x, int64_t height, int64_t width,
                     latent_cuda_value * value);
    /// Nearest, twice the size.
    int (*upsample2)(latent_cuda_program * program, latent_cuda_value x, int64_t height, int64_t width,
                     latent_cuda_value * value);
    /// Channels [first, first + count).
    int (*slice_channels)(latent_cuda_program * program, latent_cuda_value x, int64_t first, int64_t count,
                          latent_cuda_value * value);
    /// x: [batch, length, heads * 3 * d] with q, k, v of one head side by side; values[3]: q, k, v of [batch, length, heads * d].
    int (*split_heads_qkv)(latent_cuda_program * program, latent_cuda_value x, int32_t heads, latent_cuda_value * values);
    /// Rows of an embedding, one per id: [batch, length, channels].
    int (*embed)(latent_cuda_program * program, latent_cuda_value ids, const latent_cuda_tensor * table,
                 latent_cuda_value * value);
    /// Adds row i of an embedding to token i of every batch.
    int (*add_positions)(latent_cuda_program * program, latent_cuda_value x, const latent_cuda_tensor * table,
                         latent_cuda_value * value);

    // What adapters do beside the products.
    /// x * gain + shift, vectors [channels]; one of them may be null.
    int (*scale_channels)(latent_cuda_program * program, latent_cuda_value x, const latent_cuda_tensor * gain,
                          const latent_cuda_tensor * shift, latent_cuda_value * value);
    /// Channels [value, gate] to value * gelu(gate): the second part of a linear layer with geglu.
    int (*gate)(latent_cuda_program * program, latent_cuda_value x, latent_cuda_value * value);
    int (*add_blocks)(latent_cuda_program * program, const struct latent_cuda_blocks * blocks, latent_cuda_value * value);
    /// The same numbers of an image as tokens of `channels`: the parts of a token follow each other.
    int (*fold)(latent_cuda_program * program, latent_cuda_value x, int64_t channels, latent_cuda_value * value);
    /// Channels of x in groups, as many as the [rows, columns] embedding `weight` has columns; each of `rows` groups of the
    /// result is a sum of them: y[i] = residual[i] + sum over j of weight[i][j] x[j]. residual: like the result, or -1.
    int (*mix_groups)(latent_cuda_program * program, latent_cuda_value x, const latent_cuda_tensor * weight,
                      latent_cuda_value residual, latent_cuda_value * value);

    /// Memory and work of the recorded program. Recording may continue afterwards.
    int (*program_measure)(latent_cuda_program * program, struct latent_cuda_measure * measure);
    /// Ends the recording: plans, allocates, captures.
    int (*program_finish)(latent_cuda_program * program);

    // ---- running a finished program ----
    /// Sets all `count` elements of an input. The data are copied before the call returns.
    int (*set_input)(latent_cuda_program * program, const char * name, const float * data, uint64_t count);
    int (*set_ids)(latent_cuda_program * program, const char * name, const int32_t * data, uint64_t count);
    /// Waits for the current run, if any.
    int (*get_output)(latent_cuda_program * program, const char * name, float * out, uint64_t count);
    /// Copies an output of one program into an input of another (or the same) on the device; same kind and shape, same device.
    int (*transfer)(latent_cuda_program * from, const char * output, latent_cuda_program * to, const char * input);
    /// Number of elements of an input or output; 0 if there is none with that name.
    uint64_t (*input_size)(const latent_cuda_program * program, const char * name);
    uint64_t (*output_size)(const latent_cuda_program * program, const char * name);
    /// Runs to the end, or returns CANCELLED soon after cancelled(user) returns nonzero (it is called between slices, from this
    /// thread). `cancelled` may be null. Outputs are ready when it returns.
    int (*program_run)(latent_cuda_program * program, int (*cancelled)(void * user), void * user);
    /// The same, launch by launch, timed with device events. Writes up to `capacity` entries and the number of launches.
    int (*program_profile)(latent_cuda_program * program, struct latent_cuda_launch_time * times, int32_t capacity,
                           int32_t * count);
    uint64_t (*program_bytes)(const latent_cuda_program * program);
};

typedef const struct latent_cuda_api * (*latent_cuda_open_function)(uint32_t version);

#if defined(_WIN32)
#define LATENT_CUDA_EXPORT __declspec(dllexport)
#else
#define LATENT_CUDA_EXPORT __attribute__((visibility("default")))
#endif

/// The table for callers of `version`, or null if this library does not support it.
LATENT_CUDA_EXPORT const struct latent_cuda_api * latent_cuda_open(uint32_t version);

#ifdef __cplusplus
}
#endif
