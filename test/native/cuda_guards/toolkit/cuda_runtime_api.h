#pragma once

// The part of CUDA's runtime that native/backend/ggml_cuda.cpp calls, as guards_test.cpp defines it. There is no
// cudaDeviceSynchronize(), which would end the capture of a graph in another thread.

#include <cstddef>

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInitializationError = 3,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorIllegalAddress = 700,
};
enum cudaMemcpyKind { cudaMemcpyDeviceToDevice = 3 };
typedef struct CUstream_st * cudaStream_t;
#define cudaStreamPerThread (reinterpret_cast<cudaStream_t>(2))

const char * cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaGetDeviceCount(int * count);
cudaError_t cudaDriverGetVersion(int * version);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMemGetInfo(size_t * free, size_t * total);
cudaError_t cudaMemcpyAsync(void * to, const void * from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
