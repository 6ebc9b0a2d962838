#include "engine/model/model_shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace keyhole {
namespace {

using ::testing::HasSubstr;

ModelConfig Model(std::int64_t ffn_size) {
  ModelConfig config;
  config.n_heads = 8;
  config.n_kv_heads = 4;
  config.head_dim = 16;
  config.ffn_size = ffn_size;
  config.vocab_size = 101;
  return config;
}

TEST(ModelShard, QueryHeadsStayWithTheirKvHead) {
  const auto part = ShardModel(Model(512), {.rank = 1, .size = 2});
  ASSERT_TRUE(part.ok()) << part.status();
  EXPECT_EQ(part->kv_heads, (ShardRange{2, 2}));
  EXPECT_EQ(part->heads, (ShardRange{4, 4}));
  EXPECT_EQ(part->config.n_heads, 4);
  EXPECT_EQ(part->config.n_kv_heads, 2);
  EXPECT_EQ(part->config.vocab_size, 101);
}

TEST(ModelShard, ColumnsAreCutBetweenBlocksOfTheWidestEncodingThatFits) {
  struct Case {
    std::int64_t ffn_size;
    std::int64_t unit;
  };
  for (const Case& wanted : {Case{1024, 256}, Case{512, 32}, Case{160, 32}, Case{46, 1}}) {
    std::int64_t next = 0;
    for (std::int32_t rank = 0; rank < 4; ++rank) {
      const auto part = ShardModel(Model(wanted.ffn_size), {.rank = rank, .size = 4});
      ASSERT_TRUE(part.ok()) << part.status();
      EXPECT_EQ(part->ffn.begin, next);
      EXPECT_EQ(part->ffn.begin % wanted.unit, 0) << wanted.ffn_size;
      EXPECT_EQ(part->config.ffn_size, part->ffn.size);
      next = part->ffn.end();
    }
    EXPECT_EQ(next, wanted.ffn_size);
  }
}

TEST(ModelShard, WhatDoesNotDivideIsRefusedOnEveryRank) {
  for (std::int32_t rank = 0; rank < 3; ++rank) {
    const absl::Status status = ShardModel(Model(512), {.rank = rank, .size = 3}).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("4 KV heads"));
  }
  for (std::int32_t rank = 0; rank < 4; ++rank) {
    const absl::Status status = ShardModel(Model(96), {.rank = rank, .size = 4}).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("FFN of 96"));
  }
}

}  // namespace
}  // namespace keyhole
