#include "tests/integration/tensor_parallel/model_play.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <random>
#include <span>

#include "engine/model/weight_source.h"
#include "engine/selection_setup.h"
#include "engine/status_macros.h"
#include "tests/support/golden_file.h"
#include "tests/support/model_runner.h"

namespace keyhole::testing {
namespace {

constexpr std::int32_t kChunk = 32;
constexpr std::int32_t kPage = 16;
constexpr std::int32_t kShared = 64;

std::vector<TokenId> Tokens(std::uint32_t seed, std::int32_t n) {
  std::minstd_rand random(seed);
  std::vector<TokenId> tokens(n);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random() % 96);
  return tokens;
}

RunnerOptions Options(const PlayCase& play, const ModelConfig& model) {
  RunnerOptions options;
  options.weights = play.weights == "f32"    ? WeightMode::kF32
                    : play.weights == "int8" ? WeightMode::kInt8
                                             : WeightMode::kBF16;
  options.n_threads = 1;
  options.chunk_size = kChunk;
  options.page_size = kPage;
  options.n_tokens = 1024;
  options.policy = play.policy;
  options.attention.positions =
      play.positions == "native" ? PositionMode::kNative : PositionMode::kRectified;
  options.attention.sizes = {.initial = 8, .local = 48, .selected = 16};
  DistanceSettings& distances = options.attention.distances;
  distances.recall = {.selected = 24, .initial = 48, .far_bias = 1, .local = 24};
  distances.prose = {.selected = 48, .initial = 48, .far_bias = 0};
  distances.tail = 24;
  const DigestForm form =
      play.policy == "esa-paper" ? DigestForm::kConcatenated : DigestForm::kPerKvHead;
  if (play.policy.starts_with("esa")) {
    options.selection.maps = std::make_shared<const DigestMaps>(TruncatingMaps(model, form));
  }
  options.selection.query_distance = 24;
  options.selection.proximity = 3;
  options.selection.probes = 4;
  options.selection.recall_interval = 0;
  options.coarse_dims = 8;  // as far as digests are so wide
  options.selection.fine_rows = 32;
  return options;
}

// Keeps the logits of every step.
class Player {
 public:
  Player(ModelRunner* runner, Play* play) : runner_(runner), play_(play) {}

  absl::Status Step(std::span<const RunnerSlice> slices) {
    KEYHOLE_ASSIGN_OR_RETURN(const std::span<const float> logits, runner_->Step(slices));
    play_->logits.emplace_back(logits.begin(), logits.end());
    return absl::OkStatus();
  }

  absl::Status Prefill(std::int32_t sequence, std::span<const TokenId> tokens) {
    for (std::size_t i = 0; i < tokens.size(); i += kChunk) {
      const RunnerSlice slice = {
          sequence, tokens.subspan(i, std::min<std::size_t>(kChunk, tokens.size() - i)), true};
      KEYHOLE_RETURN_IF_ERROR(Step({&slice, 1}));
    }
    return absl::OkStatus();
  }

 private:
  ModelRunner* runner_;
  Play* play_;
};

absl::Status PlaySteps(ModelRunner& runner, Play& play) {
  Player player(&runner, &play);
  const std::vector<TokenId> first = Tokens(1, 240);
  std::vector<TokenId> second = Tokens(2, 200);
  std::copy_n(first.begin(), kShared, second.begin());
  const std::vector<TokenId> third = Tokens(3, 70);
  const auto part = [](const std::vector<TokenId>& tokens, std::size_t begin, std::size_t n) {
    return std::span(tokens).subspan(begin, n);
  };

  const std::int32_t a = runner.AddSequence({.capacity = 240, .prompt_len = 200});
  KEYHOLE_RETURN_IF_ERROR(player.Prefill(a, part(first, 0, 200)));
  // Behind pages of the first, as a hit of the prefix cache.
  const std::int32_t b = runner.AddSequence(
      {.capacity = 200, .prompt_len = 180, .shared_tokens = kShared, .shared_from = a});
  KEYHOLE_RETURN_IF_ERROR(player.Prefill(b, part(second, kShared, 64)));
  // Decode rows and a chunk in one step.
  for (std::int32_t i = 0; i < 2; ++i) {
    const std::size_t done = 128 + i * kChunk;
    const std::size_t n = std::min<std::size_t>(kChunk, 180 - done);
    const RunnerSlice slices[] = {{a, part(first, 200 + i, 1)}, {b, part(second, done, n)}};
    KEYHOLE_RETURN_IF_ERROR(player.Step(slices));
  }
  SelectionParams full;
  full.force_full_attention = true;
  const std::int32_t c = runner.AddSequence({.capacity = 70, .prompt_len = 60, .selection = full});
  KEYHOLE_RETURN_IF_ERROR(player.Prefill(c, part(third, 0, 60)));
  for (std::int32_t i = 0; i < 8; ++i) {
    const RunnerSlice slices[] = {
        {a, part(first, 202 + i, 1)}, {b, part(second, 180 + i, 1)}, {c, part(third, 60 + i, 1)}};
    KEYHOLE_RETURN_IF_ERROR(player.Step(slices));
  }
  // Alone: a step of one row.
  for (std::int32_t i = 0; i < 8; ++i) {
    const RunnerSlice slice = {a, part(first, 210 + i, 1)};
    KEYHOLE_RETURN_IF_ERROR(player.Step({&slice, 1}));
  }
  return absl::OkStatus();
}

std::int64_t HashOf(const std::vector<SelectionRecord>& selections) {
  std::uint64_t hash = 0;
  const auto add = [&hash](std::uint64_t value) { hash = (hash ^ value) * 0x100000001B3ULL; };
  for (const SelectionRecord& record : selections) {
    add(record.id);
    add(record.layer);
    add(record.past);
    for (const std::int32_t row : record.selection.selected) add(row);
  }
  return static_cast<std::int64_t>(hash);
}

}  // namespace

absl::StatusOr<Play> PlayModel(const PlayCase& play, ProcessGroup* group) {
  const bool synthetic = play.model.starts_with("synthetic:");
  KEYHOLE_ASSIGN_OR_RETURN(
      std::shared_ptr<const WeightSource> source,
      OpenModel(synthetic ? play.model : GoldenPath("tiny/" + play.model), {}));
  Play result;
  RunnerOptions options = Options(play, source->config());
  options.group = group;
  options.wrap_policy = [&result](std::unique_ptr<SelectionPolicy> policy) {
    return std::make_unique<RecordingPolicy>(std::move(policy), &result.selections);
  };
  KEYHOLE_ASSIGN_OR_RETURN(const auto runner, ModelRunner::Create(std::move(source), options));
  KEYHOLE_RETURN_IF_ERROR(PlaySteps(*runner, result));
  return result;
}

absl::StatusOr<std::vector<Play>> PlayAgain(const PlayCase& play, ProcessGroup& group) {
  std::vector<Play> plays;
  for (int i = 0; i < 2; ++i) {
    KEYHOLE_ASSIGN_OR_RETURN(Play result, PlayModel(play, &group));
    plays.push_back(std::move(result));
    KEYHOLE_ASSIGN_OR_RETURN(const auto hashes, group.Exchange(HashOf(plays[i].selections)));
    if (std::ranges::adjacent_find(hashes, std::not_equal_to()) != hashes.end()) {
      return absl::InternalError("ranks select different rows");
    }
  }
  return plays;
}

int PlayAsRank(const TensorParallelSettings& settings, const PlayCase& play) {
  const auto group = ProcessGroup::Connect(settings);
  const absl::Status status = group.ok() ? PlayAgain(play, **group).status() : group.status();
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}

}  // namespace keyhole::testing
