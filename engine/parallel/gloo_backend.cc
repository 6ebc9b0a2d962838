#include "engine/parallel/gloo_backend.h"

// Without it LibTorch's header is empty.
#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

namespace keyhole {

c10::intrusive_ptr<c10d::Backend> MakeGlooBackend(const Rendezvous& meeting,
                                                  const Shard& shard,
                                                  absl::Duration timeout) {
  auto options = c10d::ProcessGroupGloo::Options::create(absl::ToChronoMilliseconds(timeout));
  options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(meeting.own_host));
  options->threads = 1;
  return c10::make_intrusive<c10d::ProcessGroupGloo>(
      c10::make_intrusive<c10d::PrefixStore>("gloo", meeting.store),
      shard.rank,
      shard.size,
      std::move(options));
}

}  // namespace keyhole
