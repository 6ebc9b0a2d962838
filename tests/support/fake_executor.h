// A model without a model: deterministic tokens, pages that are checked, delays and failures.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/request/sequence_positions.h"
#include "engine/runtime/step_executor.h"

namespace keyhole::testing {

struct FakeModelOptions {
  enum class Answer {
    kEcho,  // the prompt again, token by token, then the end token
    kHash,  // HashedToken of all tokens before it, read back from the pages
  };
  Answer answer = Answer::kEcho;
  TokenId end_token = 257;
  std::int32_t page_size = 64;
  Chunking chunking = {};
  // What the rows depend on beside the tokens before them: in chunks that reach into the prompt's
  // last `tail` tokens the request's own budget; for those tokens, in rectified positions, its own
  // profile.
  PositionMode positions = PositionMode::kNative;
  AttentionProfile default_profile = AttentionProfile::kRecall;
  std::int32_t tail = 128;
  absl::Duration step_delay = absl::ZeroDuration();  // real time, each step

  // Called before each step with its number, from 0; a failed status fails the step.
  std::function<absl::Status(std::int64_t step)> before_step = {};
  // A failed status fails this sequence alone.
  std::function<absl::Status(const SequenceSlice&)> before_sequence = {};
};

// A letter from 'a' to 'f', or now and then the end token; the same for the same tokens and seed.
// With `forbid_end` no id of `ends`, nor the end token, comes out.
TokenId HashedToken(std::span<const TokenId> tokens,
                    std::uint64_t seed,
                    TokenId end_token,
                    bool forbid_end,
                    std::span<const TokenId> ends);

// Keeps a row in each slot of each page, as a model keeps K and V there: the token, and a state
// that depends on all that a model's row would depend on. A page that two sequences write, and a
// prefix that is not the sequence's own, is found out by the one that reads it. Checks what
// ModelInput promises. Thread: Run on one thread; the rest any.
class FakeExecutor final : public StepExecutor {
 public:
  explicit FakeExecutor(FakeModelOptions options) : options_(std::move(options)) {}

  absl::StatusOr<StepResult> Run(const ModelInput& input) override;

  // Broken promises of the inputs so far; empty when all is well.
  std::vector<std::string> violations() const;
  std::int64_t n_steps() const;

 private:
  struct Row {
    TokenId token = -1;
    std::uint64_t state = 0;
    bool operator==(const Row&) const = default;
  };

  std::vector<Row> ExpectedRows(const SequenceSlice& slice) const;
  TokenRange ChunkOf(const SequenceSlice& slice, std::int32_t position) const;
  std::uint64_t RowKind(const SequenceSlice& slice, std::int32_t position) const;
  void CheckInput(const ModelInput& input);
  void CheckSlice(const ModelInput& input, const SequenceSlice& slice);
  void WriteRows(const SequenceSlice& slice, const std::vector<Row>& rows);
  void CheckRows(const SequenceSlice& slice, const std::vector<Row>& rows);
  SequenceResult Answer(const SequenceSlice& slice);
  TokenId NextToken(const SequenceSlice& slice);
  Row& RowAt(const SequenceSlice& slice, std::int32_t position);
  void Violate(const SequenceSlice& slice, const std::string& what);

  const FakeModelOptions options_;
  std::vector<Row> rows_;                       // [n_pages * page_size], grows
  std::map<RequestId, std::int32_t> computed_;  // of sequences that are alive
  std::set<RequestId> ended_;
  mutable std::mutex mutex_;  // guards what follows
  std::vector<std::string> violations_;
  std::int64_t n_steps_ = 0;
};

}  // namespace keyhole::testing
