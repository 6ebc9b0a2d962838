// A whole engine with a fake model, for tests of what lies above it.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/engine_dependencies.h"
#include "tests/support/fake_executor.h"

namespace keyhole::testing {

struct FakeEngineOptions {
  EngineConfig config;     // page_size and chunk_size also go to the fake model
  FakeModelOptions model;  // echo by default
  std::int32_t max_context = 4096;
  std::int32_t n_pages = 1024;
  bool chat = true;  // a template "<|turn|>role\ncontent\n" for each message
  std::function<DevicePagesSnapshot()> device_pages;  // empty: no accelerator
  EngineObserver* observer = nullptr;
  std::unique_ptr<const Clock> clock;  // null: the system's
};

// Tokens are bytes (ByteTokenizer). The engine's threads are real; no model file, no LibTorch.
absl::StatusOr<std::unique_ptr<Engine>> MakeFakeEngine(FakeEngineOptions options);

}  // namespace keyhole::testing
