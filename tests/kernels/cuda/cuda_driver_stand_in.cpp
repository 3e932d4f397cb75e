// SPDX-License-Identifier: Apache-2.0
// As much of NVIDIA's driver, libcuda.so.1, as cuDNN needs to make a plan for a device that is not
// there: code that it has compiled is taken and never run. Arguments that mean nothing here are
// left out: C's calling convention allows it.

namespace {

constexpr int kSuccess = 0;
constexpr int kNotSupported = 801;  // CUDA_ERROR_NOT_SUPPORTED

int some_code = 0;

}  // namespace

// cuDNN looks for all of these when it loads the driver, and calls few.
#define HALFPIPE_NOT_SUPPORTED(name) \
  int name() {                       \
    return kNotSupported;            \
  }

extern "C" {

int cuLibraryLoadData(void** library) {
  *library = &some_code;
  return kSuccess;
}
int cuLibraryGetKernel(void** kernel) {
  *kernel = &some_code;
  return kSuccess;
}
int cuLibraryUnload() {
  return kSuccess;
}

HALFPIPE_NOT_SUPPORTED(cuCtxGetCurrent)
HALFPIPE_NOT_SUPPORTED(cuCtxGetLimit)
HALFPIPE_NOT_SUPPORTED(cuCtxPopCurrent)
HALFPIPE_NOT_SUPPORTED(cuCtxPushCurrent)
HALFPIPE_NOT_SUPPORTED(cuDeviceGet)
HALFPIPE_NOT_SUPPORTED(cuDeviceGetCount)
HALFPIPE_NOT_SUPPORTED(cuDriverGetVersion)
HALFPIPE_NOT_SUPPORTED(cuGetErrorName)
HALFPIPE_NOT_SUPPORTED(cuGetErrorString)
HALFPIPE_NOT_SUPPORTED(cuKernelGetAttribute)
HALFPIPE_NOT_SUPPORTED(cuKernelGetFunction)
HALFPIPE_NOT_SUPPORTED(cuKernelSetAttribute)
HALFPIPE_NOT_SUPPORTED(cuLaunchCooperativeKernel)
HALFPIPE_NOT_SUPPORTED(cuLaunchKernel)
HALFPIPE_NOT_SUPPORTED(cuLaunchKernelEx)
HALFPIPE_NOT_SUPPORTED(cuLibraryLoadFromFile)
HALFPIPE_NOT_SUPPORTED(cuLinkAddData)
HALFPIPE_NOT_SUPPORTED(cuLinkComplete)
HALFPIPE_NOT_SUPPORTED(cuLinkCreate)
HALFPIPE_NOT_SUPPORTED(cuLinkDestroy)
HALFPIPE_NOT_SUPPORTED(cuOccupancyMaxPotentialClusterSize)
HALFPIPE_NOT_SUPPORTED(cuStreamGetCtx)

}  // extern "C"
