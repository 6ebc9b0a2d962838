#include "engine/kv/pending_events.h"

#include <utility>

#include "engine/status_macros.h"

namespace keyhole {

absl::StatusOr<const Event*> PendingEvents::Record() {
  if (n_ == events_.size()) {
    KEYHOLE_ASSIGN_OR_RETURN(Event event, Event::Create());
    events_.push_back(std::move(event));
  }
  const Event& event = events_[n_];
  KEYHOLE_RETURN_IF_ERROR(event.Record(stream_));
  ++n_;
  return &event;
}

absl::Status PendingEvents::Settle() {
  absl::Status status;
  for (std::size_t i = 0; i < n_; ++i) status.Update(events_[i].Synchronize());
  n_ = 0;
  return status;
}

}  // namespace keyhole
