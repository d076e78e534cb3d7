// The types and host-side enumerations of CUDA that sources need before any kernel: vectors, errors, streams, launches.
//
// With SIMT_USE_CUDA_HEADERS they are the toolkit's own. Otherwise they are declared here, as far as kernels use them,
// with the names, members, alignments and values that the CUDA documentation gives.
#pragma once

#ifdef SIMT_USE_CUDA_HEADERS

#include <cuda_runtime_api.h>
#include <vector_functions.h>
#include <vector_types.h>

#else

#include <cstddef>

#define SIMT_VECTOR2(T, name, bytes) \
  struct alignas(bytes) name {       \
    T x, y;                          \
  };                                 \
  inline name make_##name(T x, T y) { return {x, y}; }
#define SIMT_VECTOR3(T, name) \
  struct name {               \
    T x, y, z;                \
  };                          \
  inline name make_##name(T x, T y, T z) { return {x, y, z}; }
#define SIMT_VECTOR4(T, name, bytes) \
  struct alignas(bytes) name {       \
    T x, y, z, w;                    \
  };                                 \
  inline name make_##name(T x, T y, T z, T w) { return {x, y, z, w}; }

SIMT_VECTOR2(float, float2, 8)
SIMT_VECTOR3(float, float3)
SIMT_VECTOR4(float, float4, 16)
SIMT_VECTOR2(double, double2, 16)
SIMT_VECTOR2(int, int2, 8)
SIMT_VECTOR3(int, int3)
SIMT_VECTOR4(int, int4, 16)
SIMT_VECTOR2(unsigned, uint2, 8)
SIMT_VECTOR3(unsigned, uint3)
SIMT_VECTOR4(unsigned, uint4, 16)
SIMT_VECTOR2(short, short2, 4)
SIMT_VECTOR4(short, short4, 8)
SIMT_VECTOR2(unsigned short, ushort2, 4)
SIMT_VECTOR4(unsigned short, ushort4, 8)
SIMT_VECTOR4(unsigned char, uchar4, 4)
SIMT_VECTOR2(long long, longlong2, 16)
SIMT_VECTOR2(unsigned long long, ulonglong2, 16)

#undef SIMT_VECTOR2
#undef SIMT_VECTOR3
#undef SIMT_VECTOR4

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

enum cudaError {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDeviceFunction = 98,
  cudaErrorLaunchOutOfResources = 701,
  cudaErrorLaunchFailure = 719,
  cudaErrorCooperativeLaunchTooLarge = 720,
  cudaErrorInvalidClusterSize = 912,
};
using cudaError_t = cudaError;

using cudaStream_t = struct CUstream_st*;

enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributePreferredSharedMemoryCarveout = 9,
};

enum cudaMemcpyKind { cudaMemcpyDeviceToDevice = 3 };

enum cudaLaunchAttributeID {
  cudaLaunchAttributeIgnore = 0,
  cudaLaunchAttributeCooperative = 2,
  cudaLaunchAttributeClusterDimension = 4,
};
union cudaLaunchAttributeValue {
  char pad[64];
  int cooperative;
  struct {
    unsigned x, y, z;
  } clusterDim;
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  cudaLaunchAttributeValue val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

#endif
