// A whole engine over a small synthetic model: a prompt behind a cached prefix gives the same bits
// as the same prompt in an engine that keeps nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "tests/support/answer.h"

namespace keyhole {
namespace {

// Native positions end at 256 tokens. The tail of the other prompt, its last 128 tokens, begins in
// chunk 5 of 32 tokens.
std::int32_t PromptLen(PositionMode positions) {
  return positions == PositionMode::kNative ? 235 : 300;
}

EngineConfig Config(PositionMode positions, std::int64_t prefix_cache_bytes) {
  EngineConfig config;
  config.model.path = "synthetic:tiny";
  config.kv = {.page_size = 16, .memory_bytes = 64 << 20, .prefix_cache_bytes = prefix_cache_bytes};
  config.selection.policy = positions == PositionMode::kNative ? "full" : "sink_recent";
  config.selection.initial = 8;
  config.selection.local = 64;
  config.selection.selected = 16;
  config.selection.positions = positions;
  config.scheduler.max_context = positions == PositionMode::kNative ? 256 : 512;
  config.scheduler.chunk_size = 32;
  config.threads = 2;
  return config;
}

std::vector<TokenId> Prompt(std::int32_t length) {
  std::vector<TokenId> prompt;
  for (std::int32_t i = 0; i < length; ++i) prompt.push_back((i * i * 7 + i) % 250);
  return prompt;
}

struct Case {
  std::optional<AttentionProfile> profile = {};
  bool force_full_attention = false;
  std::int32_t cached_tokens = 0;
};

Request MakeRequest(std::int32_t prompt_len, const Case& wanted) {
  Request request{.prompt = Prompt(prompt_len)};
  request.stopping.max_output_tokens = 12;
  request.stopping.ignore_eos = true;
  request.output.return_token_ids = true;
  request.output.return_logprobs = true;
  request.output.top_logprob_count = 8;
  request.output.prompt_logprobs = PromptLogprobRange{.first = prompt_len - 4, .count = 4};
  request.selection.profile = wanted.profile;
  request.selection.force_full_attention = wanted.force_full_attention;
  return request;
}

// Each request in an engine without a cache against one whose cache the cases before it filled.
void ExpectSameBits(PositionMode positions, const std::vector<Case>& cases) {
  auto cold = Engine::Create(Config(positions, 0), nullptr);
  auto warm = Engine::Create(Config(positions, -1), nullptr);
  ASSERT_TRUE(cold.ok()) << cold.status();
  ASSERT_TRUE(warm.ok()) << warm.status();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Request request = MakeRequest(PromptLen(positions), cases[i]);
    const testing::Answer expected = testing::Ask(**cold, request);
    const testing::Answer answer = testing::Ask(**warm, request);
    EXPECT_TRUE(expected.status.ok() && answer.status.ok()) << expected.status << answer.status;
    EXPECT_EQ(expected.cached_tokens, 0);
    EXPECT_EQ(answer.cached_tokens, cases[i].cached_tokens) << "case " << i;
    EXPECT_EQ(answer.values.size(), (12 + 4) * 9);
    EXPECT_EQ(answer.values, expected.values) << "case " << i;
  }
}

TEST(PrefixHitTest, SameBitsInNativePositions) {
  ExpectSameBits(PositionMode::kNative,
                 {{.cached_tokens = 0},
                  {.cached_tokens = 224},
                  {.profile = AttentionProfile::kProse, .cached_tokens = 224}});
}

TEST(PrefixHitTest, SameBitsInRectifiedPositionsUnderEveryProfile) {
  ExpectSameBits(PositionMode::kRectified,
                 {{.cached_tokens = 0},
                  {.cached_tokens = 160},  // five chunks lie before the tail
                  {.profile = AttentionProfile::kPaper, .cached_tokens = 160},
                  {.profile = AttentionProfile::kProse, .cached_tokens = 160},
                  {.profile = AttentionProfile::kProse, .cached_tokens = 288},
                  {.profile = AttentionProfile::kRecall, .cached_tokens = 160}});
}

// The far rows of all profiles and distances take part.
TEST(PrefixHitTest, SameBitsWithEveryRowAttended) {
  ExpectSameBits(
      PositionMode::kRectified,
      {{.cached_tokens = 0},
       {.force_full_attention = true, .cached_tokens = 0},
       {.force_full_attention = true, .cached_tokens = 160},
       {.profile = AttentionProfile::kPaper, .force_full_attention = true, .cached_tokens = 160},
       {.profile = AttentionProfile::kProse, .force_full_attention = true, .cached_tokens = 160},
       {.profile = AttentionProfile::kProse, .force_full_attention = true, .cached_tokens = 288}});
}

}  // namespace
}  // namespace keyhole
