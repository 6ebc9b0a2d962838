// The tests, or one rank of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string_view>

#include "tests/integration/tensor_parallel/engine_ranks.h"

int main(int argc, char** argv) {
  if (argc > 2 && std::string_view(argv[1]) == "--role") {
    return keyhole::testing::RunRole({argv + 2, argv + argc});
  }
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
