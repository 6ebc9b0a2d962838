#include "nccl.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/cuda_emulation/emulation.h"

namespace {

std::atomic<std::chrono::milliseconds> patience{std::chrono::minutes(1)};

// The ranks of a group meet here, operation by operation.
class Meeting {
 public:
  explicit Meeting(int n_ranks) : arrays_(n_ranks) {}

  // True once all ranks have come.
  bool Join() {
    std::unique_lock lock(mutex_);
    ++n_joined_;
    changed_.notify_all();
    return changed_.wait_for(
        lock, patience.load(), [&] { return n_joined_ == static_cast<int>(arrays_.size()); });
  }

  void Abort() {
    const std::lock_guard lock(mutex_);
    aborted_ = true;
    changed_.notify_all();
  }

  bool aborted() {
    const std::lock_guard lock(mutex_);
    return aborted_;
  }

  // Every rank's array as it was when all had come; empty where one has gone or does not come.
  std::vector<std::vector<float>> Exchange(int rank, const float* array, std::size_t n) {
    std::unique_lock lock(mutex_);
    arrays_[rank].assign(array, array + n);
    const long turn = turn_;
    if (++n_here_ == static_cast<int>(arrays_.size())) {
      all_ = arrays_;
      n_here_ = 0;
      ++turn_;
      changed_.notify_all();
    }
    changed_.wait_for(lock, patience.load(), [&] { return turn_ != turn || aborted_; });
    return turn_ != turn ? all_ : std::vector<std::vector<float>>();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::vector<float>> arrays_;
  std::vector<std::vector<float>> all_;
  int n_joined_ = 0;
  int n_here_ = 0;
  long turn_ = 0;
  bool aborted_ = false;
};

std::mutex groups_mutex;
std::map<std::string, std::shared_ptr<Meeting>> groups;
int n_groups = 0;

}  // namespace

struct ncclComm {
  std::shared_ptr<Meeting> meeting;
  int rank;
  std::shared_ptr<const int> calls = std::make_shared<const int>();  // shared with captured ones

  // The stream hangs where a rank is missing, as the kernel would.
  std::vector<std::vector<float>> Exchange(const void* in,
                                           std::size_t n,
                                           cudaStream_t stream) const {
    auto all = meeting->Exchange(rank, static_cast<const float*>(in), n);
    if (all.empty()) cuda_emulation::Hang(stream);
    return all;
  }
};

void cuda_emulation::SetNcclPatience(std::chrono::milliseconds time) { patience = time; }

const char* ncclGetErrorString(ncclResult_t) { return "emulated"; }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  const std::lock_guard lock(groups_mutex);
  *id = {};
  const std::string name = std::to_string(++n_groups);
  std::memcpy(id->internal, name.data(), name.size());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t* comm, int n_ranks, ncclUniqueId id, int rank) {
  if (rank < 0 || rank >= n_ranks) return ncclInvalidArgument;
  std::shared_ptr<Meeting> meeting;
  {
    const std::lock_guard lock(groups_mutex);
    std::shared_ptr<Meeting>& group = groups[std::string(id.internal, sizeof(id.internal))];
    if (group == nullptr) group = std::make_shared<Meeting>(n_ranks);
    meeting = group;
  }
  if (!meeting->Join()) return ncclRemoteError;
  *comm = new ncclComm{std::move(meeting), rank};
  return ncclSuccess;
}

// Returns, as NCCL does, when no graph holds calls of the communicator any more.
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  comm->meeting->Abort();
  while (comm->calls.use_count() > 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* failure) {
  *failure = comm->meeting->aborted() ? ncclRemoteError : ncclSuccess;
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* in,
                           void* out,
                           std::size_t n,
                           ncclDataType_t,
                           ncclRedOp_t,
                           ncclComm_t comm,
                           cudaStream_t stream) {
  const cudaError_t error = cuda_emulation::Queue(stream, [=, ranks = *comm] {
    const auto all = ranks.Exchange(in, n, stream);
    auto* sums = static_cast<float*>(out);
    for (std::size_t i = 0; !all.empty() && i < n; ++i) {
      sums[i] = 0;
      for (const std::vector<float>& array : all) sums[i] += array[i];
    }
  });
  return error == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t ncclAllGather(const void* in,
                           void* out,
                           std::size_t n,
                           ncclDataType_t,
                           ncclComm_t comm,
                           cudaStream_t stream) {
  const cudaError_t error = cuda_emulation::Queue(stream, [=, ranks = *comm] {
    auto* to = static_cast<float*>(out);
    for (const auto& array : ranks.Exchange(in, n, stream)) {
      to = std::copy(array.begin(), array.end(), to);
    }
  });
  return error == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}
