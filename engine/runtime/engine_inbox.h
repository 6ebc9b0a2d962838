// What other threads want of the engine thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "engine/request/sequence.h"
#include "engine/types.h"

namespace keyhole {

// All that came since the last look.
struct EngineMail {
  std::vector<std::unique_ptr<Sequence>> arrivals;  // admitted, in order
  std::vector<RequestId> cancelled;
  std::vector<RequestId> stopped;  // a stop string ended the answer: nothing is to be sent any more
  std::optional<absl::Time> drain_deadline;
  bool stop = false;  // the engine goes away
};

// Bounded by admission: each open request appears at most once in each list.
// Thread: any; Take and Wait on the engine thread.
class EngineInbox {
 public:
  void Arrive(std::unique_ptr<Sequence> sequence);
  void Cancel(RequestId id);
  void Stop(RequestId id);
  void Drain(absl::Time deadline);
  void StopEngine();
  void Wake();  // a step is done

  EngineMail Take();

  // Returns when there is something to look at, or after `longest`.
  void Wait(absl::Duration longest);

 private:
  template <class Change>
  void Post(Change change);

  std::mutex mutex_;  // guards what follows
  std::condition_variable posted_;
  EngineMail mail_;
  bool awake_ = false;
};

}  // namespace keyhole
