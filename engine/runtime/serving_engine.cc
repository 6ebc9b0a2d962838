#include "engine/runtime/serving_engine.h"

#include <algorithm>
#include <limits>
#include <random>
#include <span>
#include <utility>
#include <variant>

#include "engine/request/error.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

// The heartbeat comes at least this often, also when nothing happens.
constexpr absl::Duration kLongestWait = absl::Milliseconds(250);

// Seeds need to differ, not to be secret.
std::uint64_t RandomSeed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

EngineDependencies WithDefaults(const EngineConfig& config, EngineDependencies parts) {
  parts.model.kv_capacity = std::int64_t{parts.n_pages} * config.kv.page_size;
  if (!parts.clock) parts.clock = std::make_unique<SystemClock>();
  if (!parts.draw_seed) parts.draw_seed = RandomSeed;
  return parts;
}

RequestLimits LimitsOf(const EngineDependencies& parts) {
  return {.vocab_size = static_cast<std::int32_t>(parts.model.config.vocab_size),
          .max_context = parts.model.max_context,
          .max_output = parts.model.max_output,
          .default_max_output = parts.model.default_max_output,
          .max_prompt_logprobs = parts.model.max_prompt_logprobs,
          .kv_capacity = static_cast<std::int32_t>(std::min<std::int64_t>(
              parts.model.kv_capacity, std::numeric_limits<std::int32_t>::max()))};
}

AdmissionLimits AdmissionLimitsOf(const EngineConfig& config, const EngineDependencies& parts) {
  return {.page_size = config.kv.page_size,
          .n_pages = parts.n_pages,
          .max_queued_requests = config.scheduler.max_queued_requests,
          .max_queued_tokens =
              std::max<std::int64_t>(config.scheduler.max_queued_tokens, parts.model.max_context)};
}

SchedulerLimits SchedulerLimitsOf(const EngineConfig& config, const EngineDependencies& parts) {
  Chunking chunking = parts.chunking;
  chunking.chunk_size = config.scheduler.chunk_size;
  return {.chunking = chunking,
          .page_size = config.kv.page_size,
          .max_running = config.scheduler.max_running,
          .decode_steps_between_chunks = config.scheduler.decode_steps_between_chunks};
}

PrefixCacheSettings PrefixCacheSettingsOf(const EngineConfig& config,
                                          const EngineDependencies& parts) {
  const std::int64_t bytes = config.kv.prefix_cache_bytes;
  const std::int64_t wanted = bytes / std::max<std::int64_t>(1, parts.page_bytes);
  const auto max_pages =
      bytes < 0 ? parts.n_pages / 2 : std::min<std::int64_t>(wanted, parts.n_pages);
  return {.max_pages = static_cast<std::int32_t>(max_pages),
          .rules = parts.prefix_rules,
          .salt = parts.cache_salt};
}

// On the system's clock as it goes now: whoever sets it does not age what happened before.
absl::Time TimeOf(Instant instant, const Clock& clock) {
  return clock.Now() - Between(instant, clock.Monotonic());
}

// As much text may wait to be tokenised as the queue behind it takes.
std::int64_t MaxQueuedTextBytes(const SchedulerSettings& settings) {
  constexpr std::int64_t kMostTokens =
      std::numeric_limits<std::int64_t>::max() / kTextBytesPerToken;
  return std::min(settings.max_queued_tokens, kMostTokens) * kTextBytesPerToken;
}

std::int64_t PromptBytes(const Prompt& prompt) {
  if (const auto* text = std::get_if<std::string>(&prompt)) return std::ssize(*text);
  if (const auto* tokens = std::get_if<std::vector<TokenId>>(&prompt)) {
    return std::ssize(std::as_bytes(std::span(*tokens)));
  }
  std::int64_t bytes = 0;
  for (const ChatMessage& message : std::get<ChatPrompt>(prompt)) {
    bytes += std::ssize(message.role) + std::ssize(message.content);
  }
  return bytes;
}

absl::Status TextQueueFullError() {
  return MakeError(absl::StatusCode::kResourceExhausted,
                   "Too much text waits to be tokenised.",
                   {.reason = std::string(reason::kQueueFull), .retry_after = absl::Seconds(1)});
}

}  // namespace

ServingEngine::ServingEngine(const EngineConfig& config, EngineDependencies dependencies)
    : parts_(WithDefaults(config, std::move(dependencies))),
      encoder_(parts_.tokenizer.get(), parts_.render_chat),
      registry_(AdmissionLimitsOf(config, parts_)),
      preparer_({.encoder = &encoder_,
                 .registry = &registry_,
                 .clock = parts_.clock.get(),
                 .limits = LimitsOf(parts_)}),
      pool_(parts_.n_pages, std::move(parts_.on_page_free)) {
  hub_ = std::make_unique<ResponseHub>(
      &registry_, &inbox_, [this](TextWorkers::Task task) { workers_->Deliver(std::move(task)); });
  workers_ = std::make_unique<TextWorkers>(config.text_workers,
                                           config.scheduler.max_queued_requests,
                                           MaxQueuedTextBytes(config.scheduler));
  executor_ = std::make_unique<ExecutorThread>(parts_.executor.get(), [this] { inbox_.Wake(); });
  loop_ = std::make_unique<StepLoop>(
      SchedulerLimitsOf(config, parts_),
      StepLoopContext{.clock = parts_.clock.get(),
                      .pool = &pool_,
                      .runner = executor_.get(),
                      .output = hub_.get(),
                      .registry = &registry_,
                      .observer = parts_.observer,
                      .end_tokens = parts_.tokenizer->end_tokens(),
                      .prefix_cache = PrefixCacheSettingsOf(config, parts_)});
  engine_thread_ = std::thread([this] { RunEngineThread(); });
}

ServingEngine::~ServingEngine() {
  registry_.StartDrain();
  workers_->CloseWork();  // no Prepare after this: nothing can arrive any more
  inbox_.StopEngine();
  engine_thread_.join();
  registry_.WaitEmpty(absl::InfiniteFuture());  // the last events
  workers_.reset();
}

absl::StatusOr<RequestId> ServingEngine::Submit(Request request,
                                                std::unique_ptr<ResponseSink> sink) {
  KEYHOLE_ASSIGN_OR_RETURN(const RequestId id, registry_.Open(request.client_request_id));
  if (!request.seed_given) request.sampling.seed = parts_.draw_seed();
  const absl::Time now = parts_.clock->Now();
  const Instant submitted = parts_.clock->Monotonic();
  const StreamContext context{.tokenizer = parts_.tokenizer.get(),
                              .observer = parts_.observer,
                              .n_layers = static_cast<std::int32_t>(
                                  std::max<std::int64_t>(1, parts_.model.config.n_layers))};
  hub_->Open(id,
             std::make_unique<ResponseStream>(id, request, submitted, std::move(sink), context));
  const std::int64_t bytes = PromptBytes(request.prompt);
  const bool queued = workers_->TryRun(
      [this, id, now, moved = std::move(request)]() mutable { Prepare(id, std::move(moved), now); },
      bytes);
  if (queued) return id;
  hub_->Drop(id);
  registry_.Forget(id);
  return TextQueueFullError();
}

void ServingEngine::Prepare(RequestId id, Request request, absl::Time submitted) {
  std::int32_t prompt_tokens = 0;
  auto sequence = preparer_.Prepare(id, std::move(request), submitted, &prompt_tokens);
  if (sequence.ok()) {
    inbox_.Arrive(*std::move(sequence));
    return;
  }
  const bool has_reason = sequence.status().code() != absl::StatusCode::kInternal;
  hub_->Send(id,
             EndEvent{.status = has_reason ? std::move(sequence).status() : InternalError(),
                      .prompt_tokens = prompt_tokens,
                      .selection = {},
                      .time = parts_.clock->Monotonic()});
}

void ServingEngine::Cancel(RequestId id) {
  if (registry_.Cancel(id)) inbox_.Cancel(id);
}

absl::Status ServingEngine::RunOnTextWorker(absl::AnyInvocable<void()> work, std::int64_t bytes) {
  return workers_->TryRun(std::move(work), bytes) ? absl::OkStatus() : TextQueueFullError();
}

void ServingEngine::Drain(absl::Time deadline) {
  registry_.StartDrain();
  inbox_.Drain(deadline);
}

bool ServingEngine::WaitIdle(absl::Time deadline) { return registry_.WaitEmpty(deadline); }

EngineSnapshot ServingEngine::Snapshot() const {
  const RequestRegistry::Counts counts = registry_.counts();
  EngineSnapshot snapshot;
  snapshot.running_requests = counts.running;
  snapshot.waiting_requests = counts.waiting;
  snapshot.waiting_tokens = counts.waiting_tokens;
  snapshot.draining = counts.draining;
  snapshot.kv_pages = parts_.n_pages;
  snapshot.kv_page_bytes = parts_.page_bytes;
  snapshot.failure = parts_.executor->health();
  if (parts_.device_pages) snapshot.device_pages = parts_.device_pages();
  const std::lock_guard lock(status_mutex_);
  snapshot.kv_pages_used = status_.pages_used;
  snapshot.prefix_cache = status_.prefix_cache;
  if (status_.heartbeat) snapshot.heartbeat = TimeOf(*status_.heartbeat, *parts_.clock);
  if (status_.step_started) snapshot.step_started = TimeOf(*status_.step_started, *parts_.clock);
  return snapshot;
}

absl::StatusOr<std::vector<TokenId>> ServingEngine::TokenizePrompt(const Prompt& prompt) const {
  return encoder_.Encode(prompt);
}

void ServingEngine::RunEngineThread() {
  bool stopping = false;
  while (!stopping || !loop_->idle()) {
    EngineMail mail = inbox_.Take();
    stopping = stopping || mail.stop;
    loop_->Turn(std::move(mail));
    if (stopping) loop_->EndAll();
    PublishStatus();
    if (stopping && loop_->idle()) return;
    const absl::Duration wait = loop_->next_deadline() - parts_.clock->Now();
    if (wait > absl::ZeroDuration()) inbox_.Wait(std::min(wait, kLongestWait));
  }
}

void ServingEngine::PublishStatus() {
  const std::lock_guard lock(status_mutex_);
  status_ = loop_->status();
}

absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const EngineConfig& config,
                                                   EngineDependencies dependencies) {
  KEYHOLE_RETURN_IF_ERROR(Validate(config));
  return std::make_unique<ServingEngine>(config, std::move(dependencies));
}

}  // namespace keyhole
