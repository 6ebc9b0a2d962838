// Runs the tests of the accelerator's operators on emulated threads: --order=forward, reverse or
// shuffled.
#include <gtest/gtest.h>

#include <cstdio>
#include <string_view>

#include "tests/support/cuda_emulation/emulation.h"

int main(int argc, char** argv) {
  using cuda_emulation::Order;
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--order=reverse") {
      cuda_emulation::SetOrder(Order::kReverse);
    } else if (flag == "--order=shuffled") {
      cuda_emulation::SetOrder(Order::kShuffled);
    } else if (flag != "--order=forward") {
      std::fprintf(stderr, "unknown flag %s\n", argv[i]);
      return 2;
    }
  }
  return RUN_ALL_TESTS();
}
