#include "engine/runtime/response_hub.h"

#include <utility>

namespace keyhole {

void ResponseHub::Open(RequestId id, std::unique_ptr<ResponseStream> stream) {
  const std::lock_guard lock(mutex_);
  slots_[id].stream = std::move(stream);
}

void ResponseHub::Drop(RequestId id) {
  const std::lock_guard lock(mutex_);
  slots_.erase(id);
}

void ResponseHub::Send(RequestId id, StreamEvent event) {
  const std::lock_guard lock(mutex_);
  const auto slot = slots_.find(id);
  if (slot == slots_.end()) return;
  slot->second.pending.push_back(std::move(event));
  if (std::exchange(slot->second.scheduled, true)) return;
  deliver_([this, id] { Run(id); });
}

void ResponseHub::Run(RequestId id) {
  std::unique_lock lock(mutex_);
  Slot& slot = slots_.find(id)->second;  // only this task erases a scheduled slot
  ResponseStream& stream = *slot.stream;
  std::vector<StreamEvent> events = std::exchange(slot.pending, {});
  lock.unlock();

  stream.Handle(std::move(events));
  if (stream.ended()) {
    Close(id, stream);
    return;
  }

  lock.lock();
  Slot& same_slot = slots_.find(id)->second;  // the map may have moved it
  if (same_slot.pending.empty()) {
    same_slot.scheduled = false;
  } else {
    deliver_([this, id] { Run(id); });
  }
}

void ResponseHub::Close(RequestId id, ResponseStream& stream) {
  registry_->ReleaseName(id);
  if (stream.ended_by_text()) inbox_->Stop(id);
  stream.SendEnd();
  std::unique_ptr<ResponseStream> over;  // the sink may take its time to go: not under the lock
  {
    const std::lock_guard lock(mutex_);
    const auto slot = slots_.find(id);
    over = std::move(slot->second.stream);
    slots_.erase(slot);
  }
  over.reset();
  registry_->TextDone(id);
}

}  // namespace keyhole
