#include "tests/integration/tensor_parallel/engine_ranks.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/worker.h"
#include "gtest/gtest.h"
#include "tests/integration/tensor_parallel/model_play.h"
#include "tests/support/free_port.h"

namespace keyhole::testing {
namespace {

void Change(const std::string& change, EngineConfig& config) {
  const std::size_t at = change.find('=');
  const std::string name = change.substr(0, at);
  const std::string value = change.substr(at + 1);
  if (name == "model") config.model.path = value;
  if (name == "chunk_size") config.scheduler.chunk_size = std::atoi(value.c_str());
  if (name == "kv_memory") config.kv.memory_bytes = std::atoll(value.c_str());
  if (name == "max_context") config.scheduler.max_context = std::atoi(value.c_str());
  if (name == "max_running") config.scheduler.max_running = std::atoi(value.c_str());
  if (name == "selected") config.selection.selected = std::atoi(value.c_str());
  if (name == "device_kv_memory") config.device.kv_memory_bytes = std::atoll(value.c_str());
  if (name == "compute") UseDevice(config);
}

int Exit(const absl::Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return 1;
}

int Serve(const EngineConfig& config, const std::string& ready) {
  const auto engine = Engine::Create(config, nullptr);
  if (!engine.ok()) return Exit(engine.status());
  std::ofstream file(ready.substr(ready.find('=') + 1));
  file.close();
  absl::SleepFor(kDeadline);
  return 0;
}

}  // namespace

void UseDevice(EngineConfig& config) {
  config.model.weights = WeightMode::kAuto;
  config.selection.coarse_dims = 0;
  config.device.compute = ComputeDevice::kCuda;
  config.tensor_parallel.backend = RankBackend::kGloo;
}

TensorParallelSettings RankSettings(std::int32_t size) {
  TensorParallelSettings settings;
  settings.size = size;
  settings.address = absl::StrCat("127.0.0.1:", FreePort());
  settings.timeout = kDeadline / 2;
  settings.start_timeout = kDeadline / 2;
  return settings;
}

std::unique_ptr<ChildProcess> StartRank(const TensorParallelSettings& settings,
                                        std::int32_t rank,
                                        const std::string& role,
                                        const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {"--role",
                                  role,
                                  absl::StrCat(settings.size),
                                  absl::StrCat(rank),
                                  settings.address,
                                  absl::StrCat(absl::ToDoubleSeconds(settings.timeout))};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return std::make_unique<ChildProcess>(all);
}

EngineConfig SmallConfig() {
  EngineConfig config;
  config.model.path = "synthetic:tiny";
  config.model.weights = WeightMode::kF32;
  config.kv = {.type = KvType::kF32, .page_size = 16, .memory_bytes = 64 << 20};
  config.selection.initial = 8;
  config.selection.local = 64;
  config.selection.selected = 16;
  config.selection.positions = PositionMode::kRectified;
  config.scheduler.max_context = 4096;
  config.scheduler.chunk_size = 32;
  config.threads = 1;
  return config;
}

std::vector<TokenId> SmallPrompt(std::int32_t length, std::int32_t seed) {
  std::vector<TokenId> prompt(length);
  for (std::int32_t i = 0; i < length; ++i) prompt[i] = (i * i * seed + i) % 250;
  return prompt;
}

Request SmallRequest(std::vector<TokenId> prompt, std::int32_t output_tokens) {
  Request request{.prompt = std::move(prompt)};
  request.stopping.max_output_tokens = output_tokens;
  request.stopping.ignore_eos = true;
  request.output.return_token_ids = true;
  request.output.return_logprobs = true;
  request.output.top_logprob_count = 8;
  return request;
}

std::shared_ptr<Recording> Ask(Engine& engine, Request request) {
  auto recording = std::make_shared<Recording>();
  const auto id = engine.Submit(std::move(request), std::make_unique<RecordingSink>(recording));
  EXPECT_TRUE(id.ok()) << id.status();
  return recording;
}

std::vector<TokenInfo> Infos(const Recording::Events& events) {
  std::vector<TokenInfo> infos;
  for (const ChunkEvent& chunk : events.chunks) {
    infos.insert(infos.end(), chunk.prompt_logprobs.begin(), chunk.prompt_logprobs.end());
    infos.insert(infos.end(), chunk.logprobs.begin(), chunk.logprobs.end());
  }
  return infos;
}

int RunRole(const std::vector<std::string>& arguments) {
  if (arguments.size() < 5) return 2;
  TensorParallelSettings settings;
  settings.size = std::atoi(arguments[1].c_str());
  settings.rank = std::atoi(arguments[2].c_str());
  settings.address = arguments[3];
  settings.timeout = absl::Seconds(std::atof(arguments[4].c_str()));
  settings.start_timeout = kDeadline / 2;
  const std::vector<std::string> more(arguments.begin() + 5, arguments.end());
  if (arguments[0] == "play" && more.size() == 4) {
    return PlayAsRank(settings, {more[0], more[1], more[2], more[3]});
  }
  EngineConfig config = SmallConfig();
  config.tensor_parallel = settings;
  for (const std::string& change : more) Change(change, config);
  if (arguments[0] == "work") return Exit(RunWorker(config, nullptr));
  if (arguments[0] == "serve") return Serve(config, more.at(0));
  return 2;
}

}  // namespace keyhole::testing
