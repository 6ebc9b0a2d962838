#include "engine/runtime/step_loop.h"

#include <algorithm>
#include <utility>

#include "engine/batch/batch_builder.h"
#include "engine/request/error.h"

namespace keyhole {
namespace {

constexpr absl::Duration kProgressInterval = absl::Seconds(1);

absl::Time TimeLimitOf(const Sequence& sequence) {
  return sequence.submitted +
         sequence.request().stopping.time_limit.value_or(absl::InfiniteDuration());
}

// Whether a result answers what was asked: a step that breaks this must not reach a sequence.
absl::Status CheckResult(const std::vector<RequestId>& ids, const StepResult& result) {
  const bool same = std::equal(ids.begin(),
                               ids.end(),
                               result.sequences.begin(),
                               result.sequences.end(),
                               [](RequestId id, const SequenceResult& r) { return r.id == id; });
  return same ? absl::OkStatus() : absl::InternalError("the result is of another step");
}

PrefixCacheSettings WithSizes(PrefixCacheSettings settings, const SchedulerLimits& limits) {
  settings.page_size = limits.page_size;
  settings.rules.chunk_size = limits.chunking.chunk_size;
  return settings;
}

// What a client is told of a failure in a step: the cause is for the log.
absl::Status ErrorOf(const absl::Status& cause) {
  if (cause.code() != absl::StatusCode::kResourceExhausted) return InternalError();
  return MakeError(absl::StatusCode::kResourceExhausted,
                   "The rows that the request reads do not fit the accelerator's memory.",
                   {.reason = std::string(reason::kKvCapacity)});
}

}  // namespace

StepLoop::StepLoop(const SchedulerLimits& limits, StepLoopContext context)
    : context_(std::move(context)),
      page_size_(limits.page_size),
      prefix_cache_(WithSizes(context_.prefix_cache, limits), context_.pool),
      scheduler_(limits) {}

void StepLoop::Turn(EngineMail mail) {
  ReadClock();
  TakeMail(std::move(mail));
  EndOverdue();
  TakeResult();
  if (!in_flight_) SubmitStep();
}

void StepLoop::ReadClock() {
  now_ = context_.clock->Now();
  instant_ = context_.clock->Monotonic();
}

// --- mail ---

void StepLoop::TakeMail(EngineMail mail) {
  if (mail.drain_deadline) drain_deadline_ = mail.drain_deadline;
  for (auto& sequence : mail.arrivals) Arrive(std::move(sequence));
  for (const RequestId id : mail.cancelled) {
    if (Sequence* sequence = Find(id)) Fail(*sequence, CancelledError());
  }
  for (const RequestId id : mail.stopped) {
    if (Sequence* sequence = Find(id)) Retire(*sequence);
  }
}

void StepLoop::Arrive(std::unique_ptr<Sequence> arrived) {
  Sequence& sequence = *arrived;
  sequences_[sequence.id()] = std::move(arrived);
  // Also says if a cancel came while the prompt was tokenised, when nobody here knew the request.
  absl::Status status =
      context_.registry->Arrive(sequence.id(),
                                sequence.prompt_len() - prefix_cache_.CachedLen(sequence),
                                sequence.request().deadline - now_);
  if (status.ok()) {
    scheduler_.Enqueue(&sequence);
  } else {
    Fail(sequence, std::move(status));
  }
}

// One that still counts: not ended.
Sequence* StepLoop::Find(RequestId id) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end() || found->second->phase() == SequencePhase::kEnded) return nullptr;
  return found->second.get();
}

// --- ends ---

void StepLoop::EndOverdue() {
  for (auto next = sequences_.begin(); next != sequences_.end();) {
    Sequence& sequence = *(next++)->second;  // ending it may erase it
    if (sequence.phase() != SequencePhase::kEnded) EndIfOverdue(sequence);
  }
}

bool StepLoop::EndIfOverdue(Sequence& sequence) {
  const bool waiting = sequence.phase() == SequencePhase::kWaiting;
  if (now_ >= sequence.request().deadline) {
    Fail(sequence, DeadlineError());
  } else if (now_ >= TimeLimitOf(sequence)) {
    if (waiting) Start(sequence, {});  // an answer, if an empty one
    Finish(sequence, FinishReason::kTimeLimit);
  } else if (drain_deadline_ && now_ >= *drain_deadline_) {
    if (waiting) {
      Fail(sequence, DrainingError());  // nothing was sent: another replica may take it
    } else {
      Finish(sequence, FinishReason::kDrained);
    }
  } else {
    return false;
  }
  return true;
}

absl::Time StepLoop::next_deadline() const {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [id, sequence] : sequences_) {
    if (sequence->phase() == SequencePhase::kEnded) continue;
    next = std::min({next, sequence->request().deadline, TimeLimitOf(*sequence)});
    if (drain_deadline_) next = std::min(next, *drain_deadline_);
  }
  return next;
}

void StepLoop::EndAll() {
  ReadClock();
  drain_deadline_ = absl::InfinitePast();
  EndOverdue();
}

void StepLoop::Finish(Sequence& sequence, FinishReason reason) {
  context_.output->Send(sequence.id(),
                        EndEvent{.status = absl::OkStatus(),
                                 .reason = reason,
                                 .prompt_tokens = sequence.prompt_len(),
                                 .selection = sequence.selection,
                                 .time = instant_});
  Retire(sequence);
}

void StepLoop::Fail(Sequence& sequence, absl::Status status) {
  context_.output->Send(sequence.id(),
                        EndEvent{.status = std::move(status),
                                 .prompt_tokens = sequence.prompt_len(),
                                 .selection = sequence.selection,
                                 .time = instant_});
  Retire(sequence);
}

void StepLoop::Retire(Sequence& sequence) {
  scheduler_.Remove(sequence);
  sequence.End();
  if (!sequence.in_flight) Erase(sequence);
}

void StepLoop::Erase(Sequence& sequence) {
  const RequestId id = sequence.id();
  if (sequence.reached_model) ended_.push_back(id);
  prefix_cache_.OnEnd(id);
  sequences_.erase(id);  // gives the pages back
  context_.registry->EngineDone(id);
}

// --- plan, reserve, build, run ---

void StepLoop::SubmitStep() {
  StepPlan plan = scheduler_.Plan([this](Sequence& sequence) { return TryStart(sequence); });
  // A step of no tokens tells an executor that would otherwise rest which sequences' state may go.
  if (plan.empty() && ended_.empty()) return;
  InFlight step{.plan = std::move(plan), .ids = {}, .started = instant_};
  absl::StatusOr<ModelInput> input = BuildModelInput(step.plan, page_size_, ended_);
  for (const Sequence* sequence : step.plan.decode) step.ids.push_back(sequence->id());
  if (step.plan.prefill) step.ids.push_back(step.plan.prefill->sequence->id());
  if (!input.ok()) {
    FailStep(step.ids, input.status());
    return;
  }
  ended_.clear();
  for (const RequestId id : step.ids) {
    Sequence& sequence = *sequences_.at(id);
    sequence.in_flight = true;
    sequence.reached_model = true;
  }
  in_flight_ = std::move(step);
  context_.runner->Start(*std::move(input));
}

bool StepLoop::TryStart(Sequence& sequence) {
  std::optional<PageGrant> grant = prefix_cache_.ReservePages(sequence);
  if (grant) Start(sequence, *std::move(grant));
  return grant.has_value();
}

void StepLoop::Start(Sequence& sequence, PageGrant grant) {
  sequence.Start(std::move(grant.pages), grant.cached_len);
  sequence.last_progress = instant_;
  context_.registry->OnStarted(sequence.id(), sequence.prompt_left());
  StartEvent event{.started = {}, .time = instant_};
  event.started.request_id = sequence.id();
  event.started.prompt_tokens = sequence.prompt_len();
  event.started.cached_prompt_tokens = sequence.computed_len();
  event.started.seed = sequence.request().sampling.seed;
  context_.output->Send(sequence.id(), event);
}

// --- commit ---

void StepLoop::TakeResult() {
  if (!in_flight_) return;
  std::optional<absl::StatusOr<StepResult>> result = context_.runner->TryTake();
  if (!result) return;
  const InFlight step = *std::exchange(in_flight_, std::nullopt);
  for (const RequestId id : step.ids) sequences_.at(id)->in_flight = false;
  absl::Status status = result->status();
  if (status.ok()) status = CheckResult(step.ids, **result);
  if (status.ok()) {
    CommitStep(step, **std::move(result));
  } else {
    FailStep(step.ids, status);
  }
}

void StepLoop::CommitStep(const InFlight& step, StepResult result) {
  StepRecord record;
  record.decode_sequences = static_cast<std::int32_t>(step.plan.decode.size());
  record.timings = result.timings;
  record.selection = std::move(result.selection);
  if (step.plan.prefill) {
    record.prefill_tokens = step.plan.prefill->tokens.count;
    prefill_speed_.Add(record.prefill_tokens, Between(step.started, instant_));
  }
  for (std::size_t i = 0; i < step.ids.size(); ++i) {
    Sequence& sequence = *sequences_.at(step.ids[i]);
    if (sequence.phase() == SequencePhase::kEnded) {
      Erase(sequence);
      continue;
    }
    sequence.selection.seconds += result.timings.selection_seconds;
    CommitSequence(sequence, step, std::move(result.sequences[i]));
  }
  if (context_.observer != nullptr && !step.ids.empty()) context_.observer->OnStep(record);
}

void StepLoop::CommitSequence(Sequence& sequence, const InFlight& step, SequenceResult result) {
  const bool prefill = step.plan.prefill && step.plan.prefill->sequence == &sequence;
  const std::int32_t count = prefill ? step.plan.prefill->tokens.count : 1;
  const bool must_sample = sequence.computed_len() + count >= sequence.prompt_len();
  if (result.status.ok() && result.sampled != must_sample) {
    result.status = absl::InternalError("a token is missing or was not asked for");
  }
  if (!result.status.ok()) {
    FailStep({sequence.id()}, result.status);
    return;
  }
  if (result.selected_rows > 0) ++sequence.selection.steps;
  sequence.selection.rows += result.selected_rows;
  if (prefill) {
    sequence.CommitPrefill(count, std::move(result.prompt_logprobs));
    prefix_cache_.OnPrefill(sequence);
    context_.registry->OnPrefill(
        sequence.id(), sequence.prompt_left(), prefill_speed_.tokens_per_second());
    ReportProgress(sequence);
  }
  if (result.sampled) CommitToken(sequence, std::move(result.token));
}

void StepLoop::CommitToken(Sequence& sequence, TokenInfo token) {
  const TokenId id = token.chosen.token;
  const std::optional<FinishReason> over = sequence.CommitToken(id, context_.end_tokens);
  context_.output->Send(sequence.id(),
                        TokenEvent{.token = std::move(token),
                                   .prompt_logprobs = sequence.TakePromptLogprobs(),
                                   .selection = sequence.selection,
                                   .time = instant_});
  if (over) Finish(sequence, *over);
}

void StepLoop::ReportProgress(Sequence& sequence) {
  if (!sequence.request().output.report_progress || sequence.prompt_left() == 0) return;
  if (Between(sequence.last_progress, instant_) < kProgressInterval) return;
  sequence.last_progress = instant_;
  context_.output->Send(
      sequence.id(),
      ProgressEvent{.done_tokens = sequence.computed_len(), .total_tokens = sequence.prompt_len()});
}

void StepLoop::FailStep(const std::vector<RequestId>& ids, const absl::Status& cause) {
  for (const RequestId id : ids) {
    Sequence& sequence = *sequences_.at(id);
    if (sequence.phase() == SequencePhase::kEnded) {
      Erase(sequence);
    } else {
      if (context_.observer != nullptr) context_.observer->OnSequenceFailure(id, cause);
      Fail(sequence, ErrorOf(cause));
    }
  }
}

// --- for others ---

LoopStatus StepLoop::status() const {
  const PrefixCacheStats cached = prefix_cache_.stats();
  return {.heartbeat = instant_,
          .step_started = in_flight_ ? std::make_optional(in_flight_->started) : std::nullopt,
          .pages_used = context_.pool->n_used() - cached.idle_pages,
          .prefix_cache = cached};
}

std::vector<std::string> StepLoop::CheckInvariants() const {
  std::vector<std::vector<PageId>> holders = prefix_cache_.Holders();
  for (const auto& [id, sequence] : sequences_) {
    const auto pages = sequence->pages().pages();
    holders.emplace_back(pages.begin(), pages.end());
  }
  return Violations(Snapshot(*context_.pool, std::move(holders)));
}

}  // namespace keyhole
