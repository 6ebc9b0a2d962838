// Brings the events of every request to its stream, in order and on one text worker at a time.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "engine/runtime/engine_inbox.h"
#include "engine/runtime/request_registry.h"
#include "engine/runtime/response_stream.h"
#include "engine/runtime/stream_event.h"

namespace keyhole {

// Owner of all open streams. Events that wait are handled together, so that a busy worker means
// larger chunks and not a longer queue: a stream is queued for delivery at most once.
// Thread: any.
class ResponseHub final : public StreamOutput {
 public:
  using Task = absl::AnyInvocable<void()>;
  using Deliver = absl::AnyInvocable<void(Task)>;

  // `deliver` runs a task soon on a text worker; it must be safe to call from any thread.
  // REQUIRES: registry and inbox outlive this object and every task given to `deliver`.
  ResponseHub(RequestRegistry* registry, EngineInbox* inbox, Deliver deliver)
      : registry_(registry), inbox_(inbox), deliver_(std::move(deliver)) {}

  void Open(RequestId id, std::unique_ptr<ResponseStream> stream);

  // Drops a stream that has had no event; its sink is never called.
  void Drop(RequestId id);

  // Events of a stream that is over are ignored.
  void Send(RequestId id, StreamEvent event) override;

 private:
  struct Slot {
    std::unique_ptr<ResponseStream> stream;
    std::vector<StreamEvent> pending;
    bool scheduled = false;
  };

  void Run(RequestId id);
  void Close(RequestId id, ResponseStream& stream);

  RequestRegistry* registry_;
  EngineInbox* inbox_;
  std::mutex mutex_;  // guards what follows
  Deliver deliver_;
  absl::flat_hash_map<RequestId, Slot> slots_;
};

}  // namespace keyhole
