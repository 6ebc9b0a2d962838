#include "engine/runtime/chunk_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const std::vector<TokenId> kTokens = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};

std::string Hex(const ChunkKey& key) {
  std::string hex;
  for (const unsigned char byte : key) {
    hex += "0123456789abcdef"[byte / 16];
    hex += "0123456789abcdef"[byte % 16];
  }
  return hex;
}

TEST(ChunkKeysTest, OnlyFullChunksHaveOne) {
  EXPECT_THAT(ChunkKeys({}, kTokens, 4), SizeIs(2));
  EXPECT_THAT(ChunkKeys({}, kTokens, 11), IsEmpty());
  EXPECT_THAT(ChunkKeys({}, {}, 4), IsEmpty());
}

// hashlib.sha256(hashlib.sha256(b"4:salt5:scope full").digest() + struct.pack("<4i", 1, 2, 3, 4)),
// then the same with that digest and 5 to 8.
TEST(ChunkKeysTest, AreSha256OfTheChain) {
  const auto keys =
      ChunkKeys({.salt = "salt", .scope = "scope", .force_full_attention = true}, kTokens, 4);
  ASSERT_THAT(keys, SizeIs(2));
  EXPECT_EQ(Hex(keys[0]), "a48788521d4dc847c58459b8ed3a931c89d8e2306eb6346613953c2cbd35c790");
  EXPECT_EQ(Hex(keys[1]), "b3e2f55b5afafb275405c7e21e78210a2b4b01b781f20bf23d7f4f33e30d2ba6");
}

TEST(ChunkKeysTest, EverythingBeforeAChunkIsInItsKey) {
  const auto keys = ChunkKeys({}, kTokens, 4);
  std::vector<TokenId> tokens = kTokens;
  tokens[9] = 0;  // behind the full chunks
  EXPECT_THAT(ChunkKeys({}, tokens, 4), ElementsAre(keys[0], keys[1]));
  tokens[5] = 0;
  const auto later = ChunkKeys({}, tokens, 4);
  EXPECT_EQ(later[0], keys[0]);
  EXPECT_NE(later[1], keys[1]);
  tokens = kTokens;
  tokens[0] = 0;
  EXPECT_NE(ChunkKeys({}, tokens, 4)[1], keys[1]);
}

TEST(ChunkKeysTest, EverySettingMakesAnotherKey) {
  const std::vector<PrefixIdentity> identities = {
      {},
      {.salt = "a"},
      {.scope = "a"},
      {.salt = "ab", .scope = "c"},
      {.salt = "a", .scope = "bc"},
      {.scope = "1"},
      {.scope = " full"},
      {.force_full_attention = true},
      {.scope = "1", .force_full_attention = true},
  };
  std::set<ChunkKey> keys;
  for (const PrefixIdentity& identity : identities) {
    keys.insert(ChunkKeys(identity, kTokens, 4)[0]);
  }
  EXPECT_THAT(keys, SizeIs(identities.size()));
}

}  // namespace
}  // namespace keyhole
