#include "engine/model/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "engine/model/model_shapes.h"

namespace keyhole {
namespace {

using ::testing::HasSubstr;

TEST(ValidateConfigTest, TinyIsValid) { EXPECT_TRUE(Validate(*FindModelShape("tiny")).ok()); }

TEST(ValidateConfigTest, NamesTheFieldThatIsWrong) {
  struct Case {
    const char* reason;
    std::function<void(ModelConfig&)> spoil;
  };
  const double nan = std::nan("");
  const Case cases[] = {
      {"n_layers", [](ModelConfig& c) { c.n_layers = 0; }},
      {"n_layers", [](ModelConfig& c) { c.n_layers = 1 << 20; }},
      {"n_heads", [](ModelConfig& c) { c.n_heads = -4; }},
      {"n_kv_heads", [](ModelConfig& c) { c.n_kv_heads = 3; }},
      {"head_dim", [](ModelConfig& c) { c.head_dim = 15; }},
      {"hidden_size", [](ModelConfig& c) { c.hidden_size = 1LL << 40; }},
      {"ffn_size", [](ModelConfig& c) { c.ffn_size = 0; }},
      {"vocab_size", [](ModelConfig& c) { c.vocab_size = 1LL << 62; }},
      {"trained_length", [](ModelConfig& c) { c.trained_length = 0; }},
      {"norm_eps", [nan](ModelConfig& c) { c.norm_eps = nan; }},
      {"rope_theta", [](ModelConfig& c) { c.rope_theta = 0; }},
      {"factor", [](ModelConfig& c) { c.rope_scaling.factor = 0; }},
      {"factor", [](ModelConfig& c) { c.rope_scaling.factor = HUGE_VAL; }},
      {"beta_fast", [nan](ModelConfig& c) { c.rope_scaling.beta_fast = nan; }},
      {"original", [](ModelConfig& c) { c.rope_scaling.kind = RopeScalingKind::kYarn; }},
      {"low_freq_factor",
       [](ModelConfig& c) {
         c.rope_scaling.kind = RopeScalingKind::kLlama3;
         c.rope_scaling.original_length = 64;
         c.rope_scaling.low_freq_factor = 4;
       }},
      {"rope_frequency_factors",
       [](ModelConfig& c) {
         c.rope_frequency_factors = {1, 1};
       }},
      {"frequency factor", [](ModelConfig& c) { c.rope_frequency_factors.assign(8, 0); }},
  };
  for (const Case& each : cases) {
    ModelConfig config = *FindModelShape("tiny");
    each.spoil(config);
    const absl::Status status = Validate(config);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << each.reason;
    EXPECT_THAT(std::string(status.message()), HasSubstr(each.reason));
  }
}

}  // namespace
}  // namespace keyhole
