// A call that was finished and whose client has yet to take what is left of it: the status waits
// behind the last message.
#pragma once

#include <atomic>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "server/call.h"
#include "server/stream_watch.h"

namespace keyhole {

// Cuts the call off when that takes longer than a stream's writes of as many bytes may, since gRPC
// tells of nothing between Finish and OnDone. Thread: Start and Stop one after the other, on any.
class FinishWatch final : public WatchedStream {
 public:
  // REQUIRES: what `call` points to lives until Stop, its parts beyond.
  explicit FinishWatch(const Call& call);
  FinishWatch(const FinishWatch&) = delete;
  FinishWatch& operator=(const FinishWatch&) = delete;

  // Right before Finish, with the status that the call ends with and the size of its last message.
  void Start(const absl::Status& status, std::size_t bytes);

  // From OnDone.
  void Stop();

  // --- WatchedStream
  absl::Duration CheckStall(Instant now) override;

 private:
  const ServiceParts& parts_;
  grpc::CallbackServerContext* const context_;
  bool succeeded_ = false;  // as the next two, written before finished_
  absl::Duration limit_;
  Instant start_;
  std::atomic<bool> finished_ = false;
  bool cut_off_ = false;  // CheckStall's
};

}  // namespace keyhole
