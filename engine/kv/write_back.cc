#include "engine/kv/write_back.h"

#include "engine/device/device_copy.h"
#include "engine/status_macros.h"

namespace keyhole {

absl::StatusOr<WriteBackQueue> WriteBackQueue::Create(std::size_t page_bytes) {
  KEYHOLE_ASSIGN_OR_RETURN(Stream stream, Stream::Create());
  KEYHOLE_ASSIGN_OR_RETURN(Event written, Event::Create());
  return WriteBackQueue(page_bytes, std::move(stream), std::move(written));
}

absl::StatusOr<Event> WriteBackQueue::TakeEvent() {
  if (spare_.empty()) return Event::Create();
  Event event = std::move(spare_.back());
  spare_.pop_back();
  return event;
}

absl::Status WriteBackQueue::Add(const Stream& compute, std::vector<PageCopy> copies) {
  if (copies.empty()) return absl::OkStatus();
  KEYHOLE_ASSIGN_OR_RETURN(Event done, TakeEvent());
  KEYHOLE_RETURN_IF_ERROR(written_.Record(compute));
  KEYHOLE_RETURN_IF_ERROR(stream_.WaitFor(written_));
  for (const PageCopy& copy : copies) {
    KEYHOLE_RETURN_IF_ERROR(CopyAsync(stream_, copy.to, copy.from, page_bytes_));
  }
  KEYHOLE_RETURN_IF_ERROR(done.Record(stream_));
  batches_.push_back({std::move(done), std::move(copies)});
  return absl::OkStatus();
}

WriteBackOutcome WriteBackQueue::Pop(absl::Status status) {
  WriteBackOutcome outcome = {std::move(batches_.front().copies), std::move(status)};
  spare_.push_back(std::move(batches_.front().done));
  batches_.pop_front();
  return outcome;
}

std::optional<WriteBackOutcome> WriteBackQueue::TakeDone() {
  if (batches_.empty()) return std::nullopt;
  const absl::StatusOr<bool> done = batches_.front().done.Done();
  if (done.ok() && !*done) return std::nullopt;
  return Pop(done.status());
}

WriteBackOutcome WriteBackQueue::TakeNext() { return Pop(batches_.front().done.Synchronize()); }

}  // namespace keyhole
