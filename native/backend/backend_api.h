#pragma once

#include <stdint.h>

/* A ggml backend as a library of its own (latent-vulkan.so ...): this table of C functions, opened by latent_backend_open(). The
 * library has its own copy of ggml's base library, made from the same sources. Tensors, graphs, buffers and buffer types pass
 * between them, so both must agree on ggml's structures: `ggml` says which they were compiled with (backend_abi.h). What
 * calls the driver goes through the table, because drivers throw C++ exceptions, which become a status here. ggml itself calls
 * the functions of buffers: guard_buffers() (backend_start.h) replaces those that would throw. */

#define LATENT_BACKEND_VERSION 2

/* Bytes that write() and read() transfer at a time: drivers keep a buffer in the host's memory as large as the largest transfer.
 */
#define LATENT_BACKEND_TRANSFER (UINT64_C(8) << 20)

enum latent_backend_status {
    LATENT_BACKEND_OK = 0,
    LATENT_BACKEND_OUT_OF_MEMORY = 1, /* the device stays usable */
    LATENT_BACKEND_FAILED = 2         /* so will every later call with this GPU, through any handle, and opening it */
};

struct ggml_backend_buffer_type;
struct ggml_cgraph;
struct ggml_tensor;
typedef struct latent_backend_device latent_backend_device;

typedef struct latent_backend_host {
    uint32_t version; /* LATENT_BACKEND_VERSION */
    const char * ggml;
    void (*log)(int32_t level, const char * text); /* a ggml_log_level; from any thread */
} latent_backend_host;

typedef struct latent_backend_device_info {
    char name[64];         /* ggml's, such as "Vulkan0" */
    char description[256]; /* the hardware, as named by its maker */
    char driver[256];      /* name and version, as the driver gives them; empty: unknown */
    uint64_t memory_total; /* 0: unknown, as is then memory_free */
    uint64_t memory_free;
    int32_t float32; /* products of float32 are computed in float32 */
} latent_backend_device_info;

typedef struct latent_backend_api {
    uint32_t version;
    uint32_t size; /* of this structure */

    /* The message of the last failure on this thread. */
    const char * (*last_error)(void);

    int (*device_count)(int32_t * count);
    int (*device_info)(int32_t index, latent_backend_device_info * info);

    /* Devices may be opened several times, and used from any thread: calls for one GPU wait for one another. What the driver and
     * ggml keep for computing is shared by all handles of a GPU, until the last one is closed. */
    int (*device_open)(int32_t index, latent_backend_device ** device);
    void (*device_close)(latent_backend_device * device);
    struct ggml_backend_buffer_type * (*buffer_type)(latent_backend_device * device);

    int (*supports)(latent_backend_device * device, const struct ggml_tensor * operation, int32_t * supported);
    int (*write)(latent_backend_device * device, struct ggml_tensor * tensor, const void * data, uint64_t bytes);
    int (*read)(latent_backend_device * device, const struct ggml_tensor * tensor, void * data, uint64_t bytes);
    /* Of equal shapes and types, without going through the host where the backend can. */
    int (*copy)(latent_backend_device * device, const struct ggml_tensor * from, struct ggml_tensor * to);
    /* Runs the nodes [first, last) of a graph to their end. */
    int (*compute)(latent_backend_device * device, struct ggml_cgraph * graph, int32_t first, int32_t last);
} latent_backend_api;

/* Exported by the library; null if it was made for another version of the table or of ggml. */
typedef const latent_backend_api * (*latent_backend_open_function)(const latent_backend_host * host);
