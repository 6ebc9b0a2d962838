// The functions of NCCL that nccl_collectives.cc calls, from the library as it is loaded.
#include <nccl.h>

#include <string>

#include "engine/device/cuda/shared_library.h"

namespace {

constexpr const char* kLibrary = "libnccl.so.2";

template <keyhole::FunctionName kName, typename... Args>
ncclResult_t Call(Args... args) {
  return keyhole::CallLoaded<kName>(kLibrary, ncclSystemError, args...);
}

}  // namespace

extern "C" {

const char* ncclGetErrorString(ncclResult_t result) {
  static const std::string missing = keyhole::LoadProblem(kLibrary, "ncclGetErrorString");
  return keyhole::CallLoaded<"ncclGetErrorString">(kLibrary, missing.c_str(), result);
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) { return Call<"ncclGetUniqueId">(id); }

ncclResult_t ncclCommInitRank(ncclComm_t* comm, int n_ranks, ncclUniqueId id, int rank) {
  return Call<"ncclCommInitRank">(comm, n_ranks, id, rank);
}

ncclResult_t ncclCommAbort(ncclComm_t comm) { return Call<"ncclCommAbort">(comm); }

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* failure) {
  return Call<"ncclCommGetAsyncError">(comm, failure);
}

ncclResult_t ncclAllReduce(const void* in,
                           void* out,
                           size_t n,
                           ncclDataType_t type,
                           ncclRedOp_t op,
                           ncclComm_t comm,
                           cudaStream_t stream) {
  return Call<"ncclAllReduce">(in, out, n, type, op, comm, stream);
}

ncclResult_t ncclAllGather(const void* in,
                           void* out,
                           size_t n,
                           ncclDataType_t type,
                           ncclComm_t comm,
                           cudaStream_t stream) {
  return Call<"ncclAllGather">(in, out, n, type, comm, stream);
}

}  // extern "C"
