#include "tests/simulation/simulation.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/request/error.h"
#include "tests/simulation/reference_answer.h"

namespace keyhole::testing {
namespace {

constexpr std::int32_t kMaxContext = 96;

}  // namespace

// Sees from outside that decode steps run between two chunks.
class Simulation::PlanChecker final : public EngineObserver {
 public:
  PlanChecker(Simulation* simulation, std::int32_t between)
      : simulation_(simulation), between_(between) {}

  void OnStep(const StepRecord& record) override {
    if (record.prefill_tokens == 0) {
      ++decode_steps_;
      return;
    }
    if (record.decode_sequences > 0 && decode_steps_ < between_) {
      simulation_->Violate("a chunk came too soon after the one before");
    }
    decode_steps_ = 0;
  }
  void OnInterToken(absl::Duration gap) override {
    if (gap < absl::ZeroDuration()) simulation_->Violate("time runs backwards");
  }
  void OnRequestEnd(const RequestRecord& record) override {
    if (record.status.ok() && !record.started) simulation_->Violate("finished, never started");
  }

 private:
  Simulation* simulation_;
  std::int32_t between_;
  std::int32_t decode_steps_ = 1 << 20;
};

Simulation::Simulation(std::uint64_t seed) : seed_(seed), random_(seed) {
  scheduler_limits_ = {.chunking = {.chunk_size = 8},
                       .page_size = static_cast<std::int32_t>(1 << Draw(4)),
                       .max_running = static_cast<std::int32_t>(1 + Draw(6)),
                       .decode_steps_between_chunks = static_cast<std::int32_t>(Draw(4))};
  // From one request at a time to plenty.
  n_pages_ = static_cast<std::int32_t>((40 + Draw(400)) / scheduler_limits_.page_size);
  failures_per_mille_ = Chance(30) ? 30 : 0;

  if (Chance(80)) prefix_cache_.max_pages = static_cast<std::int32_t>(Draw(n_pages_ + 1));
  prefix_cache_.rules.positions = Chance(50) ? PositionMode::kNative : PositionMode::kRectified;
  prefix_cache_.rules.tail = static_cast<std::int32_t>(Draw(20));
  if (Chance(50)) {
    Chunking& chunking = scheduler_limits_.chunking;
    chunking.tail = prefix_cache_.rules.tail;
    chunking.tail_chunk = static_cast<std::int32_t>(1 + Draw(6));
    chunking.long_prompt = static_cast<std::int32_t>(Draw(40));
    prefix_cache_.rules.tail_reads_other_rows = true;
  }

  FakeModelOptions model;
  model.positions = prefix_cache_.rules.positions;
  model.tail = prefix_cache_.rules.tail;
  model.answer = FakeModelOptions::Answer::kHash;
  model.end_token = ByteTokenizer::kEnd;
  model.page_size = scheduler_limits_.page_size;
  model.chunking = scheduler_limits_.chunking;
  model.before_step = [this](std::int64_t) { return DrawFailure(failures_per_mille_); };
  model.before_sequence = [this](const SequenceSlice&) {
    return DrawFailure(failures_per_mille_ / 3);
  };
  executor_ = std::make_unique<FakeExecutor>(std::move(model));
  runner_ = std::make_unique<ManualRunner>(executor_.get());
  pool_ = std::make_unique<PagePool>(n_pages_);
  const AdmissionLimits admission{.page_size = scheduler_limits_.page_size,
                                  .n_pages = n_pages_,
                                  .max_queued_requests = static_cast<std::int32_t>(2 + Draw(12)),
                                  .max_queued_tokens = 100 + Draw(400)};
  registry_ = std::make_unique<RequestRegistry>(admission);
  hub_ = std::make_unique<ResponseHub>(registry_.get(), &inbox_, [this](ResponseHub::Task task) {
    deliveries_.push_back(std::move(task));
  });
  plan_checker_ =
      std::make_unique<PlanChecker>(this, scheduler_limits_.decode_steps_between_chunks);
  loop_ = std::make_unique<StepLoop>(scheduler_limits_,
                                     StepLoopContext{.clock = &clock_,
                                                     .pool = pool_.get(),
                                                     .runner = runner_.get(),
                                                     .output = hub_.get(),
                                                     .registry = registry_.get(),
                                                     .observer = plan_checker_.get(),
                                                     .end_tokens = tokenizer_.end_tokens(),
                                                     .prefix_cache = prefix_cache_});
  encoder_ = std::make_unique<PromptEncoder>(&tokenizer_, nullptr);
  const RequestLimits limits{.vocab_size = ByteTokenizer::kVocabSize,
                             .max_context = kMaxContext,
                             .max_output = kMaxContext,
                             .default_max_output = 16,
                             .max_prompt_logprobs = 16,
                             .kv_capacity = n_pages_ * scheduler_limits_.page_size};
  preparer_ = std::make_unique<RequestPreparer>(RequestPreparer::Parts{
      .encoder = encoder_.get(), .registry = registry_.get(), .clock = &clock_, .limits = limits});
}

Simulation::~Simulation() = default;

absl::Status Simulation::DrawFailure(std::uint32_t per_mille) {
  return Draw(1000) < per_mille ? absl::InternalError("drawn") : absl::OkStatus();
}

// Half of them go on from the beginning of one before.
std::vector<TokenId> Simulation::DrawPrompt() {
  std::vector<TokenId> prompt(1 + Draw(Chance(30) ? 70 : 12));
  for (TokenId& token : prompt) token = static_cast<TokenId>('a' + Draw(6));
  if (clients_.empty() || Chance(50)) return prompt;
  const Request& other = clients_[Draw(static_cast<std::uint32_t>(clients_.size()))].request;
  std::vector<TokenId> longer = std::get<std::vector<TokenId>>(other.prompt);
  longer.resize(1 + Draw(static_cast<std::uint32_t>(longer.size())));
  prompt.resize(Draw(static_cast<std::uint32_t>(prompt.size())));
  longer.insert(longer.end(), prompt.begin(), prompt.end());
  longer.resize(std::min<std::size_t>(longer.size(), 70));
  return longer;
}

Request Simulation::DrawRequest() {
  std::vector<TokenId> prompt = DrawPrompt();
  const auto prompt_len = static_cast<std::int32_t>(prompt.size());
  Request request{.prompt = std::move(prompt)};
  request.sampling.seed = random_();
  request.seed_given = true;
  request.priority = static_cast<std::int32_t>(Draw(3)) - 1;
  if (Chance(20)) request.client_request_id = absl::StrCat("name", Draw(3));
  if (Chance(20)) request.cache_scope = "other";
  if (Chance(20)) request.selection.profile = static_cast<AttentionProfile>(Draw(3));
  if (Chance(10)) request.selection.selected_tokens = static_cast<std::int32_t>(Draw(3));
  request.selection.force_full_attention = Chance(10);
  if (Chance(15)) request.deadline = clock_.Now() + absl::Milliseconds(Draw(4000));

  StoppingParams& stopping = request.stopping;
  stopping.max_output_tokens = static_cast<std::int32_t>(1 + Draw(24));
  if (Chance(20))
    stopping.min_output_tokens = static_cast<std::int32_t>(Draw(*stopping.max_output_tokens));
  if (Chance(15)) stopping.time_limit = absl::Milliseconds(Draw(4000));
  for (std::uint32_t i = Chance(40) ? 1 + Draw(3) : 0; i > 0; --i) {
    std::string& stop = stopping.stop.emplace_back(1 + Draw(3), 'a');
    for (char& c : stop) c = static_cast<char>('a' + Draw(6));
  }
  if (Chance(20)) stopping.stop_token_ids = {static_cast<TokenId>('a' + Draw(6))};
  stopping.ignore_eos = Chance(20);

  request.output.return_token_ids = true;
  request.output.include_stop_text = Chance(30);
  request.output.report_progress = Chance(30);
  if (Chance(30) && prompt_len > 1) {
    const auto first = static_cast<std::int32_t>(1 + Draw(prompt_len - 1));
    const std::int32_t most = std::min(16, prompt_len - first);
    request.output.prompt_logprobs =
        PromptLogprobRange{.first = first, .count = static_cast<std::int32_t>(1 + Draw(most))};
  }
  return request;
}

std::vector<std::string> Simulation::Run() {
  const std::uint32_t n_events = 50 + Draw(400);
  for (std::uint32_t i = 0; i < n_events && violations_.empty(); ++i) {
    RandomEvent();
    CheckState();
  }
  Settle();
  for (const Client& client : clients_) CheckClient(client);
  const LoopStatus status = loop_->status();
  if (pool_->n_used() != status.prefix_cache.pages || status.pages_used != 0) {
    Violate(absl::StrCat(status.pages_used, " pages leaked"));
  }
  if (status.prefix_cache.pages > prefix_cache_.max_pages) Violate("the cache is over its limit");
  counts_.cached_tokens = status.prefix_cache.hit_tokens;
  counts_.evicted_pages = status.prefix_cache.evicted_pages;
  if (registry_->counts().running + registry_->counts().waiting != 0) Violate("entries leaked");
  if (!loop_->idle()) Violate("sequences leaked");
  return violations_;
}

void Simulation::RandomEvent() {
  const std::uint32_t choice = Draw(100);
  if (choice < 12) {
    Submit();
  } else if (choice < 24) {
    PrepareOne();
  } else if (choice < 34) {
    ArriveOne();
  } else if (choice < 56) {
    Turn();
  } else if (choice < 74) {
    CompleteStep();
  } else if (choice < 90) {
    DeliverOne();
  } else if (choice < 95) {
    clock_.Advance(absl::Milliseconds(Draw(400)));
  } else if (choice < 99) {
    if (clients_.empty()) return;
    const RequestId id = clients_[Draw(static_cast<std::uint32_t>(clients_.size()))].id;
    if (registry_->Cancel(id)) inbox_.Cancel(id);
  } else if (Chance(10)) {
    drained_ = true;
    registry_->StartDrain();
    inbox_.Drain(clock_.Now() + absl::Milliseconds(Draw(2000)));
  }
}

void Simulation::Submit() {
  Request request = DrawRequest();
  const auto id = registry_->Open(request.client_request_id);
  if (!id.ok()) {
    ++counts_.refused;
    return;
  }
  Client client{.id = *id, .request = request, .recording = std::make_shared<Recording>()};
  hub_->Open(*id,
             std::make_unique<ResponseStream>(
                 *id,
                 request,
                 clock_.Monotonic(),
                 std::make_unique<RecordingSink>(client.recording),
                 StreamContext{.tokenizer = &tokenizer_, .observer = plan_checker_.get()}));
  arrivals_.push_back({.id = *id, .request = std::move(request), .submitted = clock_.Now()});
  clients_.push_back(std::move(client));
}

void Simulation::PrepareOne() {
  if (arrivals_.empty()) return;
  // Several text workers: not always in order.
  const std::size_t chosen = Draw(static_cast<std::uint32_t>(arrivals_.size()));
  Arrival arrival = std::move(arrivals_[chosen]);
  arrivals_.erase(arrivals_.begin() + static_cast<std::ptrdiff_t>(chosen));
  std::int32_t prompt_tokens = 0;
  auto sequence =
      preparer_->Prepare(arrival.id, std::move(arrival.request), arrival.submitted, &prompt_tokens);
  if (sequence.ok()) {
    prepared_.push_back(*std::move(sequence));
  } else {
    hub_->Send(arrival.id,
               EndEvent{.status = sequence.status(),
                        .prompt_tokens = prompt_tokens,
                        .selection = {},
                        .time = clock_.Monotonic()});
  }
}

// Apart from PrepareOne: a cancel may come between the two.
void Simulation::ArriveOne() {
  if (prepared_.empty()) return;
  const RequestId id = prepared_.front()->id();
  for (Client& client : clients_) {
    if (client.id == id) client.must_not_start = registry_->cancelled(id);
  }
  inbox_.Arrive(std::move(prepared_.front()));
  prepared_.pop_front();
}

void Simulation::DeliverOne() {
  if (deliveries_.empty()) return;
  ResponseHub::Task task = std::move(deliveries_.front());
  deliveries_.pop_front();
  std::move(task)();
}

void Simulation::Turn() { loop_->Turn(inbox_.Take()); }

void Simulation::CompleteStep() {
  if (runner_->running()) runner_->Complete();
}

// No more arrivals: everything must come to its end, by itself and soon.
void Simulation::Settle() {
  constexpr int kRounds = 20000;
  for (int round = 0; round < kRounds && violations_.empty(); ++round) {
    const RequestRegistry::Counts open = registry_->counts();
    if (open.running + open.waiting == 0 && loop_->idle()) return;
    PrepareOne();
    ArriveOne();
    Turn();
    CompleteStep();
    DeliverOne();
    clock_.Advance(absl::Microseconds(100));
    CheckState();
  }
  if (violations_.empty()) Violate("requests do not come to their end");
}

void Simulation::CheckState() {
  for (const std::string& violation : loop_->CheckInvariants()) Violate(violation);
  for (const std::string& violation : executor_->violations()) Violate(violation);
}

void Simulation::CheckClient(const Client& client) {
  const Recording::Events events = client.recording->events();
  for (const std::string& violation : events.violations) {
    Violate(absl::StrCat("request ", client.id, ": ", violation));
  }
  if (events.finished.has_value() == events.failed.has_value()) {
    Violate(absl::StrCat("request ", client.id, ": not exactly one last event"));
    return;
  }
  if (client.must_not_start && events.started) Violate("a cancelled request was started");
  CheckAnswer(client, events);
  if (events.failed) {
    const std::string reason = GetErrorDetail(*events.failed).reason;
    counts_.cancelled += reason == reason::kCancelled ? 1 : 0;
    counts_.internal += reason == reason::kInternal ? 1 : 0;
    counts_.overdue += reason == reason::kDeadlineExceeded ? 1 : 0;
    counts_.refused += events.started ? 0 : 1;
    if (reason == reason::kInternal && failures_per_mille_ == 0)
      Violate("failed without a failure");
  } else {
    ++counts_.finished;
    counts_.stopped_by_text += events.finished->reason == FinishReason::kStopSequence ? 1 : 0;
    counts_.overdue += events.finished->reason == FinishReason::kTimeLimit ? 1 : 0;
    counts_.drained += events.finished->reason == FinishReason::kDrained ? 1 : 0;
  }
}

// The same as alone, or a beginning of it.
void Simulation::CheckAnswer(const Client& client, const Recording::Events& events) {
  const ReferenceAnswer expected = AnswerAlone(client.request);
  const std::vector<TokenId> ids = events.token_ids();
  const bool complete = events.finished && events.finished->reason != FinishReason::kTimeLimit &&
                        events.finished->reason != FinishReason::kDrained;
  const auto expect = [&](bool holds, const char* what) {
    if (!holds) Violate(absl::StrCat("request ", client.id, ": ", what));
  };
  expect(ids.size() <= expected.token_ids.size() &&
             std::equal(ids.begin(), ids.end(), expected.token_ids.begin()),
         "other tokens than alone");
  if (complete) {
    expect(ids.size() == expected.token_ids.size(), "fewer tokens than alone");
    expect(events.text() == expected.text, "another text than alone");
    expect(events.finished->reason == expected.reason, "another finish reason than alone");
    expect(events.finished->matched_stop == expected.matched_stop, "another stop string");
  }
  if (events.finished) {
    expect(events.finished->output_tokens == std::ssize(ids), "a wrong count of output tokens");
  }
  if (client.request.output.prompt_logprobs && !ids.empty()) {
    expect(!events.chunks.empty() && std::ssize(events.chunks.front().prompt_logprobs) ==
                                         client.request.output.prompt_logprobs->count,
           "prompt log-probabilities are missing");
  }
}

void Simulation::Violate(const std::string& what) {
  violations_.push_back(absl::StrCat("seed ", seed_, ": ", what));
}

}  // namespace keyhole::testing
