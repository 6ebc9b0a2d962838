#include "engine/tokenizer/tokenizer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/tokenizer/byte_level_alphabet.h"
#include "engine/tokenizer/tokenizer_loader.h"

namespace keyhole {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json ByteLevelFile() {
  json vocabulary;
  for (int byte = 0; byte < 256; ++byte) vocabulary[ByteLevelCharacter(byte)] = byte;
  vocabulary["ab"] = 256;
  return {
      {"added_tokens", {{{"id", 257}, {"content", "<s>"}, {"special", true}}}},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", {{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}}},
        {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {257}}}}}}}},
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {"a b"}}}}};
}

std::string Reason(const json& file) {
  const absl::StatusOr<TokenizerData> data = ParseTokenizerJson(file.dump());
  if (!data.ok()) return std::string(data.status().message());
  return std::string(MakeTokenizer(*data).status().message());
}

TEST(TokenizerJson, ReadsByteLevelBpe) {
  const absl::StatusOr<TokenizerData> data = ParseTokenizerJson(ByteLevelFile().dump());
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->pre, "gpt-2");
  const auto tokenizer = *MakeTokenizer(*data);
  EXPECT_THAT(*tokenizer->Encode("ab<s>", {}), ElementsAre(257, 256, 257));
}

TEST(TokenizerJson, MergesMayBePairs) {
  json file = ByteLevelFile();
  file["model"]["merges"] = json::array({json::array({"a", "b"})});
  EXPECT_EQ(Reason(file), "");
}

TEST(TokenizerJson, RecognisesPreTokenizers) {
  const auto pre = [](const json& pre_tokenizer) {
    json file = ByteLevelFile();
    file["pre_tokenizer"] = pre_tokenizer;
    const absl::StatusOr<TokenizerData> data = ParseTokenizerJson(file.dump());
    return data.ok() ? data->pre : std::string(data.status().message());
  };
  const json byte_level = {{"type", "ByteLevel"}, {"use_regex", false}};
  const auto sequence = [](const json& a, const json& b) {
    return json{{"type", "Sequence"}, {"pretokenizers", json::array({a, b})}};
  };
  EXPECT_EQ(
      pre(sequence({{"type", "Digits"}, {"individual_digits", true}}, {{"type", "ByteLevel"}})),
      "smollm");
  const json split = {
      {"type", "Split"}, {"pattern", {{"Regex", "(a+)+"}}}, {"behavior", "Isolated"}};
  EXPECT_THAT(pre(sequence(split, byte_level)), HasSubstr("the regular expression (a+)+"));
  EXPECT_THAT(pre({{"type", "Whitespace"}}), HasSubstr("Whitespace"));
  EXPECT_THAT(pre(sequence({{"type", "Punctuation"}}, byte_level)), HasSubstr("Punctuation"));
}

TEST(TokenizerJson, NamesWhatIsNotSupported) {
  json file = ByteLevelFile();
  file["model"]["type"] = "WordPiece";
  EXPECT_THAT(Reason(file), HasSubstr("WordPiece"));
  file = ByteLevelFile();
  file["normalizer"] = {{"type", "Lowercase"}};
  EXPECT_THAT(Reason(file), HasSubstr("Lowercase"));
  file = ByteLevelFile();
  file["post_processor"] = {{"type", "RobertaProcessing"}};
  EXPECT_THAT(Reason(file), HasSubstr("RobertaProcessing"));
}

TEST(TokenizerJson, RefusesNonsense) {
  for (const char* text : {"",
                           "[]",
                           "{",
                           "{}",
                           "null",
                           R"({"model": 3})",
                           R"({"model": {"vocab": []}})",
                           R"({"model": {"vocab": {"a": -1}, "merges": []}})",
                           R"({"model": {"vocab": {"a": 4294967296}, "merges": []}})",
                           R"({"model": {"vocab": {"a": 0, "b": 0}, "merges": []}})",
                           R"({"model": {"vocab": {"a": 0}, "merges": [1]}})",
                           R"({"model": {"vocab": {"a": 0}, "merges": {}}})"}) {
    EXPECT_EQ(ParseTokenizerJson(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_FALSE(ParseTokenizerJson(std::string(1 << 20, '[')).ok());
  json file = ByteLevelFile();
  file["added_tokens"][0]["id"] = 5;
  EXPECT_THAT(Reason(file), HasSubstr("id 5 belongs to two tokens"));
}

TEST(TokenizerJson, HolesInTheVocabularyAreUnused) {
  json file = ByteLevelFile();
  file["added_tokens"][0]["id"] = 300;
  file["post_processor"] = nullptr;
  const auto data = ParseTokenizerJson(file.dump());
  ASSERT_TRUE(data.ok());
  const auto tokenizer = MakeTokenizer(*data);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocab_size(), 301);
  EXPECT_EQ((*tokenizer)->TokenBytes(280, true), "");
}

class TokenizerDirectory : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::path(::testing::TempDir()) /
                 ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void Write(const char* name, const std::string& content) {
    std::ofstream(directory_ / name, std::ios::binary) << content;
  }

  std::filesystem::path directory_;
};

TEST_F(TokenizerDirectory, ReadsTheFilesTogether) {
  Write("tokenizer.json", ByteLevelFile().dump());
  Write("tokenizer_config.json",
        json{{"eos_token", {{"content", "<s>"}}}, {"bos_token", "<s>"}, {"chat_template", "old"}}
            .dump());
  Write("generation_config.json", json{{"eos_token_id", {257, 10}}}.dump());
  Write("chat_template.jinja", "new");
  const absl::StatusOr<TokenizerData> data = ReadTokenizerDirectory(directory_.string());
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->chat_template, "new");
  EXPECT_EQ(SpecialTokenText(*data, data->eos), "<s>");
  const auto tokenizer = LoadTokenizer(directory_.string());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT((*tokenizer)->end_tokens(), ElementsAre(257, 10));
}

TEST_F(TokenizerDirectory, NamedChatTemplates) {
  Write("tokenizer.json", ByteLevelFile().dump());
  const json named = {{{"name", "tool_use"}, {"template", "x"}},
                      {{"name", "default"}, {"template", "y"}}};
  Write("tokenizer_config.json", json{{"chat_template", named}}.dump());
  EXPECT_EQ(ReadTokenizerDirectory(directory_.string())->chat_template, "y");
}

TEST_F(TokenizerDirectory, WithoutATokenizerIsNotFound) {
  EXPECT_EQ(LoadTokenizer(directory_.string()).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace keyhole
