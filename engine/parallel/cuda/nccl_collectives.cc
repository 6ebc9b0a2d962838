#include "engine/parallel/nccl_collectives.h"

#include <nccl.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/device/device_error.h"
#include "engine/device/event.h"
#include "engine/parallel/returns_within.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

// Longer than a step of decode: nothing is lost by looking twice a millisecond after that.
constexpr absl::Duration kSpin = absl::Milliseconds(50);
constexpr absl::Duration kPause = absl::Microseconds(500);

absl::Status NcclStatus(ncclResult_t result, std::string_view what) {
  if (result == ncclSuccess || result == ncclInProgress) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(
      "tensor parallel: ", std::string(what), " failed: NCCL: ", ncclGetErrorString(result)));
}

// On a thread of its own, which is given up after `limit`. A communicator that does not block has a
// limit too, but hands every later collective to another thread.
absl::StatusOr<ncclComm_t> Join(const Shard& shard, const ncclUniqueId& id, absl::Duration limit) {
  struct Joined {
    ncclComm_t comm = nullptr;
    ncclResult_t result = ncclSuccess;
  };
  const auto joined = std::make_shared<Joined>();
  const bool in_time = ReturnsWithin(limit, [joined, id, shard] {
    joined->result = ncclCommInitRank(&joined->comm, shard.size, id, shard.rank);
  });
  if (!in_time) {
    return absl::UnavailableError(absl::StrCat(
        "tensor parallel: a rank did not join NCCL's group within ", absl::FormatDuration(limit)));
  }
  KEYHOLE_RETURN_IF_ERROR(NcclStatus(joined->result, "joining the group"));
  return joined->comm;
}

class NcclCollectives final : public DeviceCollectives {
 public:
  NcclCollectives(ProcessGroup* group, const NcclLimits& limits, ncclComm_t comm, Event done)
      : group_(group),
        timeout_(limits.step),
        end_limit_(limits.end),
        comm_(comm),
        done_(std::move(done)) {}
  NcclCollectives(const NcclCollectives&) = delete;
  NcclCollectives& operator=(const NcclCollectives&) = delete;
  ~NcclCollectives() override { Abort(); }

  const Shard& shard() const override { return group_->shard(); }

  void AllReduce(const Stream& stream, float* x, std::int64_t n) override {
    CheckAlive();
    ThrowIfFailed(NcclStatus(
        ncclAllReduce(x, x, Count(n), ncclFloat32, ncclSum, comm_, stream.handle()), "a sum"));
  }

  void AllGather(const Stream& stream, const float* x, std::int64_t n, float* out) override {
    CheckAlive();
    ThrowIfFailed(NcclStatus(ncclAllGather(x, out, Count(n), ncclFloat32, comm_, stream.handle()),
                             "an all-gather"));
  }

  bool capturable() const override { return true; }
  void set_drop_captured(const std::function<void()>& drop) override { drop_captured_ = drop; }

  absl::Status Synchronize(const Stream& stream) override {
    KEYHOLE_RETURN_IF_ERROR(done_.Record(stream));
    const auto begin = std::chrono::steady_clock::now();
    for (;;) {
      KEYHOLE_ASSIGN_OR_RETURN(const bool done, done_.Done());
      if (done) return stream.Synchronize();
      ncclResult_t failure = ncclSuccess;
      if (comm_ != nullptr) ncclCommGetAsyncError(comm_, &failure);
      absl::Status status = NcclStatus(failure, "a step");
      const absl::Duration waited = absl::FromChrono(std::chrono::steady_clock::now() - begin);
      if (status.ok() && waited > timeout_) {
        status = absl::UnavailableError(absl::StrCat("tensor parallel: a rank did not come within ",
                                                     absl::FormatDuration(timeout_)));
      }
      if (!status.ok()) {
        Abort();
        return status;
      }
      if (waited > kSpin) absl::SleepFor(kPause);
    }
  }

  absl::StatusOr<std::int64_t> Smallest(std::int64_t own) override { return group_->Smallest(own); }

 private:
  static std::size_t Count(std::int64_t n) { return static_cast<std::size_t>(n); }

  void CheckAlive() const {
    if (comm_ != nullptr) return;
    throw DeviceError(absl::UnavailableError("tensor parallel: this rank has left its group"));
  }

  // Ends kernels that wait for others, which Destroy would wait for. NCCL returns when no graph
  // holds calls of its any more, and a graph may be in use until its kernels have ended: hence side
  // by side.
  void Abort() {
    if (comm_ == nullptr) return;
    const bool ended =
        ReturnsWithin(end_limit_, [comm = std::exchange(comm_, nullptr), drop = drop_captured_] {
          std::thread dropping([&drop] {
            if (drop) drop();
          });
          ncclCommAbort(comm);
          dropping.join();
        });
    if (ended) return;
    std::fputs("tensor parallel: NCCL cannot end what waits for other ranks: this process ends\n",
               stderr);
    std::_Exit(EXIT_FAILURE);
  }

  ProcessGroup* group_;
  absl::Duration timeout_;
  absl::Duration end_limit_;
  ncclComm_t comm_;
  Event done_;
  std::function<void()> drop_captured_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceCollectives>> MakeNcclCollectives(ProcessGroup* group,
                                                                       const NcclLimits& limits) {
  const Shard& shard = group->shard();
  KEYHOLE_ASSIGN_OR_RETURN(Event done, Event::Create());
  ncclUniqueId id = {};
  absl::Status made;
  if (shard.is_root()) made = NcclStatus(ncclGetUniqueId(&id), "making a group");
  // Also after a failure, so that nobody waits; no name is empty.
  std::string name = made.ok() ? std::string(id.internal, sizeof(id.internal)) : std::string();
  KEYHOLE_RETURN_IF_ERROR(group->Broadcast(name));
  KEYHOLE_RETURN_IF_ERROR(made);
  if (name.size() != sizeof(id.internal)) {
    return absl::UnavailableError("tensor parallel: rank 0 cannot make a group of NCCL");
  }
  std::memcpy(id.internal, name.data(), sizeof(id.internal));
  KEYHOLE_ASSIGN_OR_RETURN(const ncclComm_t comm, Join(shard, id, limits.start));
  return std::make_unique<NcclCollectives>(group, limits, comm, std::move(done));
}

}  // namespace keyhole
