#include "tests/support/selective_golden.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "engine/status_macros.h"
#include "tests/support/recording_policy.h"

namespace keyhole {
namespace {

// Places in a case's settings, as make_selective_goldens.py writes them.
enum Place : std::size_t {
  kInitial,
  kLocal,
  kSelected,
  kChunk,
  kProximity,
  kProbes,
  kQueryDistance,
  kTail,
  kBeforeSelected,
  kBeforeInitial,
  kTailSelected,
  kTailInitial,
  kTailLocal,
  kTailBudget,
};

class Comparison {
 public:
  Comparison(const GoldenFile& golden, const std::string& name)
      : columns_(golden.Ints(name + ".columns")),
        expected_(golden.Floats(name + ".logits")),
        max_abs_(golden.Floats(name + ".max_abs")),
        greedy_(golden.Ints(name + ".greedy")) {
    if (!golden.Has(name + ".rows")) return;
    layers_ = golden.Ints(name + ".layers");
    rows_ = golden.Ints(name + ".rows");
  }

  void AddLogits(std::span<const float> logits) {
    const std::size_t row = n_rows_++;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const double difference = logits[columns_[i]] - expected_[row * columns_.size() + i];
      result_.relative_error =
          std::max(result_.relative_error, std::abs(difference) / max_abs_[row]);
    }
    const std::size_t first_answer = max_abs_.size() - greedy_.size();
    if (row < first_answer) return;
    const auto best = std::ranges::max_element(logits) - logits.begin();
    result_.other_tokens += best != greedy_[row - first_answer];
  }

  void AddSelections(std::span<const SelectionRecord> records) {
    for (const SelectionRecord& record : records) {
      const std::vector<std::int32_t>& chosen = record.selection.selected;
      if (chosen.empty() || !std::ranges::binary_search(layers_, record.layer)) continue;
      const auto rest = rows_.subspan(std::min(compared_rows_, rows_.size()));
      result_.other_selections +=
          !std::ranges::equal(chosen, rest.first(std::min(chosen.size(), rest.size())));
      ++result_.selections;
      compared_rows_ += chosen.size();
    }
  }

  SelectiveResult Finish() {
    if (compared_rows_ != rows_.size()) ++result_.other_selections;
    return result_;
  }

 private:
  std::span<const std::int32_t> columns_;
  std::span<const float> expected_;
  std::span<const float> max_abs_;
  std::span<const std::int32_t> greedy_;
  std::span<const std::int32_t> layers_;
  std::span<const std::int32_t> rows_;
  std::size_t n_rows_ = 0;
  std::size_t compared_rows_ = 0;
  SelectiveResult result_;
};

}  // namespace

RunnerOptions SelectiveOptions(const GoldenFile& golden, const SelectiveCase& c) {
  const std::span<const std::int32_t> s = golden.Ints(c.name + ".settings");
  const std::span<const float> bias = golden.Floats(c.name + ".far_bias");
  RunnerOptions options;
  options.chunk_size = s[kChunk];
  options.page_size = 16;
  options.n_tokens = static_cast<std::int32_t>(golden.Ints(c.name + ".prompt").size() +
                                               golden.Ints(c.name + ".greedy").size());
  options.policy = c.policy;
  options.attention.positions = c.positions;
  options.attention.sizes = {.initial = s[kInitial], .local = s[kLocal], .selected = s[kSelected]};
  DistanceSettings& distances = options.attention.distances;
  distances.prose = {
      .selected = s[kBeforeSelected], .initial = s[kBeforeInitial], .far_bias = bias[0]};
  distances.recall = {.selected = s[kTailSelected],
                      .initial = s[kTailInitial],
                      .far_bias = bias[1],
                      .local = s[kTailLocal],
                      .budget = s[kTailBudget]};
  distances.tail = s[kTail];
  options.selection.query_distance = s[kQueryDistance];
  options.selection.proximity = s[kProximity];
  options.selection.probes = s[kProbes];
  return options;
}

absl::StatusOr<SelectiveResult> RunSelectiveCase(const GoldenFile& golden,
                                                 const SelectiveCase& c,
                                                 std::shared_ptr<const WeightSource> source) {
  std::vector<SelectionRecord> records;
  RunnerOptions options = SelectiveOptions(golden, c);
  options.wrap_policy = [&](std::unique_ptr<SelectionPolicy> policy) {
    return std::make_unique<RecordingPolicy>(std::move(policy), &records);
  };
  KEYHOLE_ASSIGN_OR_RETURN(const auto runner, ModelRunner::Create(std::move(source), options));
  const std::span<const TokenId> prompt = golden.Ints(c.name + ".prompt");
  const std::span<const TokenId> greedy = golden.Ints(c.name + ".greedy");
  RunnerSequence start;
  start.capacity = options.n_tokens;
  start.prompt_len = static_cast<std::int32_t>(prompt.size());
  start.selection.profile = AttentionProfile::kRecall;
  const std::int32_t sequence = runner->AddSequence(start);
  Comparison comparison(golden, c.name);
  const auto append = [&](std::span<const TokenId> tokens) -> absl::Status {
    const RunnerSlice slice = {sequence, tokens};
    KEYHOLE_ASSIGN_OR_RETURN(const auto logits, runner->Step({&slice, 1}));
    comparison.AddLogits(logits);
    return absl::OkStatus();
  };
  const auto chunk = static_cast<std::size_t>(options.chunk_size);
  for (std::size_t i = 0; i < prompt.size(); i += chunk) {
    KEYHOLE_RETURN_IF_ERROR(append(prompt.subspan(i, std::min(chunk, prompt.size() - i))));
  }
  for (std::size_t i = 0; i + 1 < greedy.size(); ++i) {
    KEYHOLE_RETURN_IF_ERROR(append(greedy.subspan(i, 1)));
  }
  comparison.AddSelections(records);
  return comparison.Finish();
}

}  // namespace keyhole
