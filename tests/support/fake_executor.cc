#include "tests/support/fake_executor.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/status_macros.h"

namespace keyhole::testing {
namespace {

// Knuth's multiplier of MMIX: a good enough mixture for a fake answer.
std::uint64_t Mix(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * 6364136223846793005ULL + 1442695040888963407ULL;
  return hash ^ (hash >> 29);
}

}  // namespace

TokenId HashedToken(std::span<const TokenId> tokens,
                    std::uint64_t seed,
                    TokenId end_token,
                    bool forbid_end,
                    std::span<const TokenId> ends) {
  std::uint64_t hash = seed;
  for (const TokenId token : tokens) hash = Mix(hash, static_cast<std::uint64_t>(token));
  while (true) {
    hash = Mix(hash, 1);
    const std::uint64_t draw = hash >> 20;
    const TokenId token = draw % 32 == 0 ? end_token : static_cast<TokenId>('a' + draw / 32 % 6);
    const bool is_end =
        token == end_token || std::find(ends.begin(), ends.end(), token) != ends.end();
    if (!forbid_end || !is_end) return token;
  }
}

absl::StatusOr<StepResult> FakeExecutor::Run(const ModelInput& input) {
  std::int64_t step = 0;
  {
    const std::lock_guard lock(mutex_);
    step = n_steps_++;
  }
  CheckInput(input);
  if (options_.step_delay > absl::ZeroDuration()) absl::SleepFor(options_.step_delay);
  if (options_.before_step) KEYHOLE_RETURN_IF_ERROR(options_.before_step(step));
  StepResult result;
  for (const SequenceSlice& slice : input.sequences) {
    CheckSlice(input, slice);
    const std::vector<Row> rows = ExpectedRows(slice);
    WriteRows(slice, rows);
    CheckRows(slice, rows);
    computed_[slice.id] = slice.kv_len + slice.q_len;
    result.sequences.push_back(Answer(slice));
  }
  result.timings.total_seconds = absl::ToDoubleSeconds(options_.step_delay);
  return result;
}

std::vector<std::string> FakeExecutor::violations() const {
  const std::lock_guard lock(mutex_);
  return violations_;
}

std::int64_t FakeExecutor::n_steps() const {
  const std::lock_guard lock(mutex_);
  return n_steps_;
}

void FakeExecutor::Violate(const SequenceSlice& slice, const std::string& what) {
  const std::lock_guard lock(mutex_);
  violations_.push_back(absl::StrCat("request ", slice.id, ": ", what));
}

void FakeExecutor::CheckInput(const ModelInput& input) {
  for (const RequestId id : input.ended) computed_.erase(id);
  std::int32_t rows = 0;
  std::int32_t prefills = 0;
  for (const SequenceSlice& slice : input.sequences) {
    if (slice.q_begin != rows) Violate(slice, "the slices leave a gap or overlap");
    rows += slice.q_len;
    prefills += slice.kv_len < slice.prompt_len ? 1 : 0;
    if (prefills > 1) Violate(slice, "more than one prefill chunk");
  }
  if (rows != std::ssize(input.token_ids) || rows != std::ssize(input.positions)) {
    Violate({}, "rows and slices differ");
  }
  if (rows == 0 && input.ended.empty()) Violate({}, "a step without work");
  for (const RequestId id : input.ended) {
    if (!ended_.insert(id).second) Violate({}, absl::StrCat("request ", id, " ended twice"));
  }
}

void FakeExecutor::CheckSlice(const ModelInput& input, const SequenceSlice& slice) {
  const auto known = computed_.find(slice.id);
  // A sequence that comes for the first time may bring a prefix; CheckRows sees whether it is
  // right.
  const std::int32_t computed = known == computed_.end() ? slice.kv_len : known->second;
  if (known == computed_.end() && slice.kv_len >= slice.prompt_len) {
    Violate(slice, "no row of the prompt is computed");
  }
  if (slice.kv_len != computed) Violate(slice, "tokens were left out or computed twice");
  const std::int32_t end = slice.kv_len + slice.q_len;
  if (slice.kv_len < slice.prompt_len) {
    const TokenRange chunk = ChunkOf(slice, slice.kv_len);
    if (slice.kv_len != chunk.begin) Violate(slice, "a chunk off the grid");
    if (slice.q_len != chunk.count) Violate(slice, "a chunk was split");
  } else if (slice.q_len != 1 || end != std::ssize(slice.tokens)) {
    Violate(slice, "a decode row that is not the last token");
  }
  if (slice.sample != (end >= slice.prompt_len)) Violate(slice, "sampling in the wrong place");
  if (std::ssize(slice.pages) * options_.page_size < end) Violate(slice, "too few pages");
  for (std::int32_t row = 0; row < slice.q_len; ++row) {
    if (input.positions[slice.q_begin + row] != slice.kv_len + row ||
        input.token_ids[slice.q_begin + row] != slice.tokens[slice.kv_len + row]) {
      Violate(slice, "a row that is not the sequence's");
    }
  }
}

// The chunk of the prompt's token at `position`.
TokenRange FakeExecutor::ChunkOf(const SequenceSlice& slice, std::int32_t position) const {
  TokenRange chunk;
  do {
    chunk = NextChunk(chunk.begin + chunk.count, slice.prompt_len, options_.chunking);
  } while (chunk.begin + chunk.count <= position);
  return chunk;
}

// Rows of the same kind and tokens are the same in all sequences of one scope.
std::uint64_t FakeExecutor::RowKind(const SequenceSlice& slice, std::int32_t position) const {
  const bool own_profile = position >= slice.prompt_len - options_.tail;
  const AttentionProfile before_tail = options_.default_profile == AttentionProfile::kPaper
                                           ? AttentionProfile::kPaper
                                           : AttentionProfile::kProse;
  const bool answer = position >= slice.prompt_len;
  const TokenRange chunk = answer ? TokenRange{position, 1} : ChunkOf(slice, position);
  std::uint64_t kind = 0;
  if (chunk.begin + chunk.count > slice.prompt_len - options_.tail) {
    kind = 1000 * (1 + slice.request->selection.selected_tokens.value_or(-1));
  }
  if (options_.positions == PositionMode::kRectified) {
    const auto own = slice.request->selection.profile.value_or(options_.default_profile);
    kind += 1 + static_cast<std::uint64_t>(own_profile ? own : before_tail);
  }
  if (answer) return kind + 20;
  if (chunk.count != options_.chunking.chunk_size) kind += 10;  // of a chunk of another length
  return kind;
}

std::vector<FakeExecutor::Row> FakeExecutor::ExpectedRows(const SequenceSlice& slice) const {
  std::uint64_t state = Mix(0, slice.request->selection.force_full_attention);
  for (const char c : slice.request->cache_scope) state = Mix(state, static_cast<unsigned char>(c));
  std::vector<Row> rows;
  for (std::int32_t position = 0; position < slice.kv_len + slice.q_len; ++position) {
    state = Mix(state, static_cast<std::uint64_t>(slice.tokens[position]));
    state = Mix(state, RowKind(slice, position));
    rows.push_back({.token = slice.tokens[position], .state = state});
  }
  return rows;
}

FakeExecutor::Row& FakeExecutor::RowAt(const SequenceSlice& slice, std::int32_t position) {
  const std::size_t page = slice.pages[position / options_.page_size];
  const std::size_t row = page * options_.page_size + position % options_.page_size;
  if (row >= rows_.size()) rows_.resize(row + 1);
  return rows_[row];
}

void FakeExecutor::WriteRows(const SequenceSlice& slice, const std::vector<Row>& rows) {
  for (std::int32_t row = slice.kv_len; row < slice.kv_len + slice.q_len; ++row) {
    RowAt(slice, row) = rows[row];
  }
}

void FakeExecutor::CheckRows(const SequenceSlice& slice, const std::vector<Row>& rows) {
  for (std::int32_t position = 0; position < slice.kv_len + slice.q_len; ++position) {
    if (RowAt(slice, position) != rows[position]) {
      Violate(slice, absl::StrCat("the row of token ", position, " is not its own"));
      return;
    }
  }
}

SequenceResult FakeExecutor::Answer(const SequenceSlice& slice) {
  SequenceResult result;
  result.id = slice.id;
  if (options_.before_sequence) result.status = options_.before_sequence(slice);
  if (!result.status.ok()) return result;
  for (std::int32_t i = 0; i < slice.prompt_logprob_count; ++i) {
    const std::int32_t position = slice.kv_len + slice.prompt_logprob_first + i;
    TokenInfo info;
    info.chosen = {.token = slice.tokens[position + 1], .logprob = -0.5F * position};
    result.prompt_logprobs.push_back(std::move(info));
  }
  if (slice.sample) {
    result.sampled = true;
    result.token.chosen = {.token = NextToken(slice), .logprob = -0.25F};
  }
  return result;
}

TokenId FakeExecutor::NextToken(const SequenceSlice& slice) {
  const auto output_len = static_cast<std::int32_t>(slice.tokens.size()) - slice.prompt_len;
  if (options_.answer == FakeModelOptions::Answer::kEcho) {
    const bool over = output_len >= slice.prompt_len;
    if (over && !slice.forbid_end && !slice.request->stopping.ignore_eos) return options_.end_token;
    return slice.tokens[output_len % slice.prompt_len];
  }
  std::vector<TokenId> tokens;
  for (std::int32_t position = 0; position < slice.kv_len + slice.q_len; ++position) {
    tokens.push_back(RowAt(slice, position).token);
  }
  return HashedToken(tokens,
                     slice.request->sampling.seed,
                     options_.end_token,
                     slice.forbid_end,
                     slice.request->stopping.stop_token_ids);
}

}  // namespace keyhole::testing
