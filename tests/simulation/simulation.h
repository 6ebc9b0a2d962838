// The engine on one thread, with every interleaving of its threads chosen by a seed.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/runtime/engine_inbox.h"
#include "engine/runtime/request_preparer.h"
#include "engine/runtime/request_registry.h"
#include "engine/runtime/response_hub.h"
#include "engine/runtime/step_loop.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_executor.h"
#include "tests/support/manual_runner.h"
#include "tests/support/recording_sink.h"

namespace keyhole::testing {

// Counts of one scenario, to see that scenarios reach what they are for.
struct SimulationCounts {
  std::int64_t finished = 0;
  std::int64_t stopped_by_text = 0;
  std::int64_t cancelled = 0;
  std::int64_t refused = 0;
  std::int64_t overdue = 0;
  std::int64_t drained = 0;
  std::int64_t internal = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t evicted_pages = 0;
};

// One scenario: requests arrive, are cancelled, run out of time; steps fail; the engine drains.
// After every event the invariants are checked, at the end every answer.
class Simulation {
 public:
  explicit Simulation(std::uint64_t seed);
  ~Simulation();

  // Runs it to the end. Returns what was violated; empty when all is well.
  std::vector<std::string> Run();

  const SimulationCounts& counts() const { return counts_; }

 private:
  class PlanChecker;
  struct Client {
    RequestId id = 0;
    Request request;
    std::shared_ptr<Recording> recording;
    bool must_not_start = false;  // cancelled before the engine saw it
  };
  struct Arrival {  // waits for a text worker
    RequestId id = 0;
    Request request;
    absl::Time submitted;
  };

  std::uint32_t Draw(std::uint32_t below) { return static_cast<std::uint32_t>(random_() % below); }
  bool Chance(std::uint32_t percent) { return Draw(100) < percent; }
  std::vector<TokenId> DrawPrompt();
  Request DrawRequest();
  absl::Status DrawFailure(std::uint32_t per_mille);

  void RandomEvent();
  void Submit();
  void PrepareOne();
  void ArriveOne();
  void DeliverOne();
  void Turn();
  void CompleteStep();
  void CheckState();
  void CheckClient(const Client& client);
  void CheckAnswer(const Client& client, const Recording::Events& events);
  void Settle();
  void Violate(const std::string& what);

  std::uint64_t seed_;
  std::mt19937_64 random_;
  SimulationCounts counts_;
  std::vector<std::string> violations_;

  SchedulerLimits scheduler_limits_;
  std::int32_t n_pages_;
  std::uint32_t failures_per_mille_;
  PrefixCacheSettings prefix_cache_;
  bool drained_ = false;

  FakeClock clock_;
  ByteTokenizer tokenizer_;
  std::unique_ptr<FakeExecutor> executor_;
  std::unique_ptr<ManualRunner> runner_;
  std::unique_ptr<PagePool> pool_;
  std::unique_ptr<RequestRegistry> registry_;
  std::unique_ptr<PlanChecker> plan_checker_;
  EngineInbox inbox_;
  std::deque<ResponseHub::Task> deliveries_;
  std::unique_ptr<ResponseHub> hub_;
  std::unique_ptr<StepLoop> loop_;
  std::unique_ptr<PromptEncoder> encoder_;
  std::unique_ptr<RequestPreparer> preparer_;

  std::vector<Client> clients_;
  std::deque<Arrival> arrivals_;
  std::deque<std::unique_ptr<Sequence>> prepared_;
};

}  // namespace keyhole::testing
