#include "engine/runtime/engine_inbox.h"

#include <utility>

namespace keyhole {

template <class Change>
void EngineInbox::Post(Change change) {
  {
    const std::lock_guard lock(mutex_);
    change();
    awake_ = true;
  }
  posted_.notify_one();
}

void EngineInbox::Arrive(std::unique_ptr<Sequence> sequence) {
  Post([&] { mail_.arrivals.push_back(std::move(sequence)); });
}

void EngineInbox::Cancel(RequestId id) {
  Post([&] { mail_.cancelled.push_back(id); });
}

void EngineInbox::Stop(RequestId id) {
  Post([&] { mail_.stopped.push_back(id); });
}

void EngineInbox::Drain(absl::Time deadline) {
  Post([&] { mail_.drain_deadline = deadline; });
}

void EngineInbox::StopEngine() {
  Post([&] { mail_.stop = true; });
}

void EngineInbox::Wake() {
  Post([] {});
}

EngineMail EngineInbox::Take() {
  const std::lock_guard lock(mutex_);
  awake_ = false;
  return std::exchange(mail_, {});
}

void EngineInbox::Wait(absl::Duration longest) {
  std::unique_lock lock(mutex_);
  posted_.wait_for(lock, absl::ToChronoNanoseconds(longest), [this] { return awake_; });
}

}  // namespace keyhole
