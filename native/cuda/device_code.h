#pragma once

// The primitives that kernels are written in. Under nvcc they are PTX; with any other compiler the kernels run on the host for
// tests, block by block, with reference implementations of the primitives (test/native/cuda/shim). Apart from these, kernels use
// only threadIdx, blockIdx and gridDim.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <mutex>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <utility>
#define LATENT_DEVICE __device__ __forceinline__
#define LATENT_UNROLL _Pragma("unroll")
#define LATENT_UNROLL_4 _Pragma("unroll 4")
#define LATENT_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#else
#include "shim/host_device.h"
#define LATENT_DEVICE inline
#define LATENT_UNROLL
#define LATENT_UNROLL_4
#define LATENT_SHARED(name) unsigned char * name = latent_host::dynamic_shared()
#endif

namespace latent::cuda {

/// Types of values and plain weights; sums are float32.
struct bf16 {
    uint16_t bits;
};
struct f16 {
    uint16_t bits;
};

/// 16 bytes at a time: eight values.
struct alignas(16) Chunk {
    uint32_t word[4];
};
struct alignas(8) Pair {
    uint32_t word[2];
};
struct alignas(16) Float4 {
    float v[4];
};

/// During its lifetime, launch() in this thread only loads kernels without starting them, because loading is not allowed during a
/// capture.
class LoadingKernels {
public:
    LoadingKernels() { on() = true; }
    ~LoadingKernels() { on() = false; }
    LoadingKernels(const LoadingKernels &) = delete;
    LoadingKernels & operator=(const LoadingKernels &) = delete;
    static bool & on() {
        static thread_local bool loading = false;
        return loading;
    }
};

#ifdef __CUDACC__

LATENT_DEVICE float to_float(bf16 v) {
    return __uint_as_float(uint32_t(v.bits) << 16);
}
LATENT_DEVICE float to_float(f16 v) {
    return __half2float(__ushort_as_half(v.bits));
}
LATENT_DEVICE float to_float(float v) {
    return v;
}
LATENT_DEVICE void from_float(float f, bf16 & v) {
    v.bits = __bfloat16_as_ushort(__float2bfloat16_rn(f));
}
LATENT_DEVICE void from_float(float f, f16 & v) {
    v.bits = __half_as_ushort(__float2half_rn(f));
}
LATENT_DEVICE void from_float(float f, float & v) {
    v = f;
}

/// Two values in a word, the first one in the low half.
template <typename T>
LATENT_DEVICE uint32_t pack(float low, float high);
template <>
LATENT_DEVICE uint32_t pack<bf16>(float low, float high) {
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
template <>
LATENT_DEVICE uint32_t pack<f16>(float low, float high) {
    uint32_t r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

LATENT_DEVICE uint32_t shared_address(const void * p) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
/// Copies 16 bytes to shared memory, or zeros if not valid (`from` must still be an address). Both sides aligned.
LATENT_DEVICE void cp_async16(void * to, const void * from, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
}
LATENT_DEVICE void cp_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Waits for this thread's groups but the latest `left`; other threads see them after a barrier.
template <int left>
LATENT_DEVICE void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}
/// Four 8x8 matrices of 16-bit values, rows given by the lanes: lane 8 i + r gives row r of matrix i.
LATENT_DEVICE void ldmatrix_x4(uint32_t * r, const void * row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}
LATENT_DEVICE void ldmatrix_x4_trans(uint32_t * r, const void * row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}
/// c += a b of 16x16 and 16x8 in the layout of mma.m16n8k16.
LATENT_DEVICE void mma(bf16, float * c, const uint32_t * a, const uint32_t * b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
LATENT_DEVICE void mma(f16, float * c, const uint32_t * a, const uint32_t * b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
LATENT_DEVICE float shuffle_xor(float v, int mask) {
    return __shfl_xor_sync(0xffffffffu, v, mask);
}
LATENT_DEVICE void sync_threads() {
    __syncthreads();
}
LATENT_DEVICE void sync_warp() {
    __syncwarp();
}
LATENT_DEVICE uint32_t atomic_add(uint32_t * p, uint32_t v) {
    return atomicAdd(p, v);
}
LATENT_DEVICE float float_of_bits(uint32_t bits) {
    return __uint_as_float(bits);
}
/// Four bytes of eight, those of `low` and then of `high`; the first is chosen by the lowest hexadecimal digit of `which`.
LATENT_DEVICE uint32_t permute_bytes(uint32_t low, uint32_t high, uint32_t which) {
    return __byte_perm(low, high, which);
}
LATENT_DEVICE float exp2_approx(float v) {
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
    return r;
}
LATENT_DEVICE float rsqrt_approx(float v) {
    return rsqrtf(v);
}
LATENT_DEVICE float divide_approx(float a, float b) {
    return __fdividef(a, b);
}
/// The same number, of which the compiler knows nothing: it is not computed again where it is used, and what is computed of it
/// inside a loop stays there, where it occupies no registers between uses.
LATENT_DEVICE int opaque(int v) {
    asm volatile("" : "+r"(v));
    return v;
}
/// In one instruction: where the factors are extended far from here, nvcc multiplies 64 bits by 64.
LATENT_DEVICE int64_t multiply_wide(int a, int b) {
    int64_t r;
    asm("mul.wide.s32 %0, %1, %2;" : "=l"(r) : "r"(a), "r"(b));
    return r;
}
/// A value, or several as one vector; aligned.
template <typename V>
LATENT_DEVICE V load(const V * p) {
    return *p;
}
template <typename V>
LATENT_DEVICE void store(V * p, const V & v) {
    *p = v;
}

/// In one instruction: nvcc may write word by word.
LATENT_DEVICE void store_global(void * p, const Chunk & v) {
    asm volatile("st.global.v4.b32 [%0], {%1,%2,%3,%4};" ::"l"(__cvta_generic_to_global(p)), "r"(v.word[0]), "r"(v.word[1]),
                 "r"(v.word[2]), "r"(v.word[3])
                 : "memory");
}
LATENT_DEVICE void store_shared(void * p, const Chunk & v) {
    asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};" ::"r"(shared_address(p)), "r"(v.word[0]), "r"(v.word[1]), "r"(v.word[2]),
                 "r"(v.word[3])
                 : "memory");
}
LATENT_DEVICE void store_shared(void * p, float a, float b) {
    asm volatile("st.shared.v2.f32 [%0], {%1,%2};" ::"r"(shared_address(p)), "f"(a), "f"(b) : "memory");
}

template <typename... P>
void start(void (*kernel)(P...), dim3 grid, int threads, size_t shared, cudaStream_t stream, P... arguments) {
    kernel<<<grid, threads, shared, stream>>>(arguments...);
}

#else

float to_float(bf16 v);
float to_float(f16 v);
inline float to_float(float v) {
    return v;
}
void from_float(float f, bf16 & v);
void from_float(float f, f16 & v);
inline void from_float(float f, float & v) {
    v = f;
}
template <typename T>
uint32_t pack(float low, float high) {
    T a, b;
    from_float(low, a), from_float(high, b);
    return a.bits | uint32_t(b.bits) << 16;
}
inline void cp_async16(void * to, const void * from, bool valid) {
    latent_host::cp_async16(to, from, valid);
}
inline void cp_async_commit() {
    latent_host::cp_async_commit();
}
template <int left>
void cp_async_wait() {
    latent_host::cp_async_wait(left);
}
inline void ldmatrix_x4(uint32_t * r, const void * row) {
    latent_host::ldmatrix(r, row, false);
}
inline void ldmatrix_x4_trans(uint32_t * r, const void * row) {
    latent_host::ldmatrix(r, row, true);
}
inline void mma(bf16, float * c, const uint32_t * a, const uint32_t * b) {
    latent_host::mma(false, c, a, b);
}
inline void mma(f16, float * c, const uint32_t * a, const uint32_t * b) {
    latent_host::mma(true, c, a, b);
}
inline float shuffle_xor(float v, int mask) {
    return latent_host::shuffle_xor(v, mask);
}
inline void sync_threads() {
    latent_host::sync_threads();
}
inline void sync_warp() {
    latent_host::sync_warp();
}
inline uint32_t atomic_add(uint32_t * p, uint32_t v) {
    return latent_host::atomic_add(p, v);
}
inline float float_of_bits(uint32_t bits) {
    float v;
    std::memcpy(&v, &bits, sizeof v);
    return v;
}
inline uint32_t permute_bytes(uint32_t low, uint32_t high, uint32_t which) {
    const uint64_t both = low | static_cast<uint64_t>(high) << 32;
    uint32_t r = 0;
    for (int i = 0; i < 4; ++i) r |= static_cast<uint32_t>(both >> (which >> (4 * i) & 7u) * 8 & 0xffu) << (8 * i);
    return r;
}
inline float exp2_approx(float v) {
    return std::exp2(v);
}
inline float rsqrt_approx(float v) {
    return 1.0f / std::sqrt(v);
}
inline float divide_approx(float a, float b) {
    return a / b;
}
inline int opaque(int v) {
    return v;
}
inline int64_t multiply_wide(int a, int b) {
    return static_cast<int64_t>(a) * b;
}
template <typename V>
V load(const V * p) {
    if (reinterpret_cast<uintptr_t>(p) % alignof(V)) latent_host::fail("a vector load is not aligned");
    return *p;
}
template <typename V>
void store(V * p, const V & v) {
    if (reinterpret_cast<uintptr_t>(p) % alignof(V)) latent_host::fail("a vector store is not aligned");
    *p = v;
}
inline void store_global(void * p, const Chunk & v) {
    store(static_cast<Chunk *>(p), v);
}
inline void store_shared(void * p, const Chunk & v) {
    store(static_cast<Chunk *>(p), v);
}
inline void store_shared(void * p, float a, float b) {
    if (reinterpret_cast<uintptr_t>(p) % 8) latent_host::fail("a vector store is not aligned");
    static_cast<float *>(p)[0] = a, static_cast<float *>(p)[1] = b;
}
template <typename... P>
void start(void (*kernel)(P...), dim3 grid, int threads, size_t shared, cudaStream_t stream, P... arguments) {
    latent_host::launch(
        reinterpret_cast<const void *>(kernel), grid, threads, shared, stream, [=] { kernel(arguments...); },
        latent_host::parameters(arguments...));
}

#endif

/// Starts a kernel on a stream; errors stay in cudaGetLastError().
template <typename... P, typename... A>
void launch(void (*kernel)(P...), dim3 grid, int threads, size_t shared, cudaStream_t stream, A... arguments) {
    static std::mutex asking;  // the attributes are shared by all threads
    const std::lock_guard<std::mutex> lock(asking);
    cudaFuncAttributes attributes;  // reading them loads the kernel
    if (cudaFuncGetAttributes(&attributes, kernel) != cudaSuccess) return;
    // Above 48 kB. Never lowered, because graphs that were captured with more may still be launched.
    const int bytes = static_cast<int>(shared);
    if (bytes > attributes.maxDynamicSharedSizeBytes &&
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes) != cudaSuccess) {
        return;
    }
    if (LoadingKernels::on()) return;
    start<P...>(kernel, grid, threads, shared, stream, arguments...);
}

/// A row of some bytes.
template <typename T>
LATENT_DEVICE const T * row_at(const T * first, int row, int bytes) {
    return reinterpret_cast<const T *>(reinterpret_cast<const unsigned char *>(first) + multiply_wide(row, bytes));
}

template <typename T>
LATENT_DEVICE void unpack(const Chunk & chunk, float * v) {
    LATENT_UNROLL
    for (int i = 0; i < 4; ++i) {
        v[2 * i] = to_float(T{static_cast<uint16_t>(chunk.word[i] & 0xffffu)});
        v[2 * i + 1] = to_float(T{static_cast<uint16_t>(chunk.word[i] >> 16)});
    }
}
template <typename T>
LATENT_DEVICE Chunk packed(const float * v) {
    Chunk chunk;
    LATENT_UNROLL
    for (int i = 0; i < 4; ++i) chunk.word[i] = pack<T>(v[2 * i], v[2 * i + 1]);
    return chunk;
}

/// Eight values of any of the types, aligned.
template <typename T>
LATENT_DEVICE void load8(const T * p, float * v) {
    unpack<T>(load(reinterpret_cast<const Chunk *>(p)), v);
}
template <>
LATENT_DEVICE void load8<float>(const float * p, float * v) {
    const Float4 a = load(reinterpret_cast<const Float4 *>(p)), b = load(reinterpret_cast<const Float4 *>(p) + 1);
    LATENT_UNROLL
    for (int i = 0; i < 4; ++i) v[i] = a.v[i], v[4 + i] = b.v[i];
}
template <typename T>
LATENT_DEVICE void store8(T * p, const float * v) {
    store(reinterpret_cast<Chunk *>(p), packed<T>(v));
}
template <>
LATENT_DEVICE void store8<float>(float * p, const float * v) {
    Float4 a, b;
    LATENT_UNROLL
    for (int i = 0; i < 4; ++i) a.v[i] = v[i], b.v[i] = v[4 + i];
    store(reinterpret_cast<Float4 *>(p), a), store(reinterpret_cast<Float4 *>(p) + 1, b);
}

/// Four values, aligned.
template <typename T>
LATENT_DEVICE void load4(const T * p, float * v) {
    const Pair pair = load(reinterpret_cast<const Pair *>(p));
    LATENT_UNROLL
    for (int i = 0; i < 4; ++i) v[i] = to_float(T{static_cast<uint16_t>(pair.word[i / 2] >> (i % 2 * 16) & 0xffffu)});
}
template <>
LATENT_DEVICE void load4<float>(const float * p, float * v) {
    const Float4 four = load(reinterpret_cast<const Float4 *>(p));
    LATENT_UNROLL
    for (int i = 0; i < 4; ++i) v[i] = four.v[i];
}
template <typename T>
LATENT_DEVICE void store4(T * p, const float * v) {
    store(reinterpret_cast<Pair *>(p), Pair{{pack<T>(v[0], v[1]), pack<T>(v[2], v[3])}});
}
template <>
LATENT_DEVICE void store4<float>(float * p, const float * v) {
    store(reinterpret_cast<Float4 *>(p), Float4{{v[0], v[1], v[2], v[3]}});
}

/// Eight floats at a multiple of eight in a row of `count`, which has the first fours of all its eights, then the second ones:
/// threads that take neighbouring eights access neighbouring memory.
LATENT_DEVICE void load_halves(const float * row, int count, int at, float * v) {
    const Float4 a = load(reinterpret_cast<const Float4 *>(row + at / 2));
    const Float4 b = load(reinterpret_cast<const Float4 *>(row + count / 2 + at / 2));
    LATENT_UNROLL
    for (int i = 0; i < 4; ++i) v[i] = a.v[i], v[4 + i] = b.v[i];
}
LATENT_DEVICE int halves_place(int count, int at) {
    return at / 8 * 4 + at % 4 + (at & 4 ? count / 2 : 0);
}
LATENT_DEVICE void store_halves(float * row, int count, int at, const float * v) {
    Float4 a, b;
    LATENT_UNROLL
    for (int i = 0; i < 4; ++i) a.v[i] = v[i], b.v[i] = v[4 + i];
    store(reinterpret_cast<Float4 *>(row + at / 2), a), store(reinterpret_cast<Float4 *>(row + count / 2 + at / 2), b);
}

constexpr float kLog2e = 1.4426950408889634f;

/// 1 / (1 + e^-v)
LATENT_DEVICE float sigmoid(float v) {
    return divide_approx(1.0f, 1.0f + exp2_approx(-kLog2e * v));
}
/// The error function for v >= 0, error 1.5e-7 (Abramowitz and Stegun 7.1.26), with a quarter of erff's instructions.
LATENT_DEVICE float erf_of_positive(float v) {
    const float t = divide_approx(1.0f, 1.0f + 0.3275911f * v);
    const float sum = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
    return 1.0f - sum * exp2_approx(-kLog2e * v * v);
}
/// v * (share of a normal distribution below v).
LATENT_DEVICE float gelu(float v) {
    const float half = 0.5f * erf_of_positive(0.70710678118654752f * fabsf(v));
    return v * (v < 0.0f ? 0.5f - half : 0.5f + half);
}
/// By latent_cuda_activation.
LATENT_DEVICE float activate(float v, int kind) {
    if (kind == 1) return v * sigmoid(v);
    if (kind == 2) return gelu(v);
    if (kind == 3) return v * sigmoid(1.702f * v);
    if (kind == 4) return v < 0.0f ? 0.0f : v;  // NaN stays NaN
    return v;
}

}  // namespace latent::cuda
