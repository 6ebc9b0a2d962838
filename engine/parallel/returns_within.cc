#include "engine/parallel/returns_within.h"

#include <memory>
#include <thread>
#include <utility>

#include "absl/synchronization/notification.h"

namespace keyhole {

bool ReturnsWithin(absl::Duration limit, std::function<void()> work) {
  const auto returned = std::make_shared<absl::Notification>();
  std::thread thread([returned, work = std::move(work)] {
    work();
    returned->Notify();
  });
  if (!returned->WaitForNotificationWithTimeout(limit)) {
    thread.detach();
    return false;
  }
  thread.join();
  return true;
}

}  // namespace keyhole
