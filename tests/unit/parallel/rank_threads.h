// Ranks as threads of one process, over real sockets.
#pragma once

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/parallel/process_group.h"
#include "tests/support/free_port.h"

namespace keyhole::testing {

// Times that no slow machine reaches.
inline TensorParallelSettings RankSettings(std::int32_t size) {
  // LibTorch's record of collectives is one of a process, and its groups add themselves to it
  // without a lock: it is for a group a process.
  ::setenv("TORCH_FR_BUFFER_SIZE", "0", 1);
  TensorParallelSettings settings;
  settings.size = size;
  settings.address = "127.0.0.1:" + std::to_string(FreePort());
  settings.timeout = absl::Seconds(40);
  settings.start_timeout = absl::Seconds(40);
  return settings;
}

// Values whose sum over ranks depends on its order.
inline float RankValue(std::int32_t rank, std::int64_t i) {
  return std::sin(static_cast<float>(i * 7 + rank)) * std::pow(10.0F, static_cast<float>(rank));
}

// Calls `work` on a thread for each rank and waits for all of them.
inline void RunRanks(std::int32_t size,
                     const std::function<void(std::unique_ptr<ProcessGroup> group)>& work) {
  TensorParallelSettings settings = RankSettings(size);
  std::vector<std::thread> ranks;
  for (settings.rank = 0; settings.rank < size; ++settings.rank) {
    ranks.emplace_back([settings, &work] {
      const c10::InferenceMode no_gradients;
      auto group = ProcessGroup::Connect(settings);
      ASSERT_TRUE(group.ok()) << group.status();
      work(*std::move(group));
    });
  }
  for (std::thread& rank : ranks) rank.join();
}

}  // namespace keyhole::testing
