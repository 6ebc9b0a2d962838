#include "engine/model/model_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/model/gguf_tokenizer.h"
#include "tests/unit/model_files/gguf_builder.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(GgufTokenizerTest, ReadsWhatTheReferenceWriterWrote) {
  const auto file = GgufFile::Open(KEYHOLE_GOLDEN_DIR "/tiny_llama.gguf");
  ASSERT_TRUE(file.ok()) << file.status();
  const auto data = ReadGgufTokenizer(*file);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->kind, TokenizerData::Kind::kSentencePiece);
  EXPECT_EQ(data->tokens.size(), 300);
  EXPECT_EQ(data->tokens[258], "\u2581");
  EXPECT_EQ(data->tokens[299], "t\u00e940");
  EXPECT_EQ(data->scores[7], -7);
  EXPECT_EQ(data->types[256], kTokenControl);
  EXPECT_EQ(data->pre, "default");
  EXPECT_EQ(data->bos, 256);
  EXPECT_EQ(data->eos, 257);
  EXPECT_EQ(data->unk, std::nullopt);
  EXPECT_EQ(data->add_bos, true);
  EXPECT_EQ(data->add_eos, std::nullopt);
  const ChatTemplateSource chat = ChatTemplateOf(*data);
  EXPECT_EQ(chat.source, "{{ messages }}");
  EXPECT_EQ(chat.bos_token, "<s>");
  EXPECT_EQ(chat.eos_token, "</s>");
}

absl::Status ReadStatus(const GgufBuilder& builder) {
  const std::string bytes = builder.Build();
  const auto file = GgufFile::Parse(AsBytes(bytes));
  return file.ok() ? ReadGgufTokenizer(*file).status() : file.status();
}

TEST(GgufTokenizerTest, RefusesOtherModelsAndTypes) {
  const auto start = [](const char* model) {
    GgufBuilder builder;
    builder.String("tokenizer.ggml.model", model);
    return builder;
  };
  EXPECT_TRUE(absl::IsUnimplemented(ReadStatus(GgufBuilder())));
  EXPECT_TRUE(absl::IsUnimplemented(ReadStatus(start("bert"))));
  EXPECT_TRUE(absl::IsInvalidArgument(ReadStatus(start("gpt2"))));
  EXPECT_TRUE(absl::IsInvalidArgument(
      ReadStatus(start("gpt2").Array("tokenizer.ggml.tokens", GgufType::kUint32, 0, ""))));
  GgufBuilder bpe = start("gpt2");
  bpe.Array("tokenizer.ggml.tokens", GgufType::kString, 0, "")
      .Array("tokenizer.ggml.merges", GgufType::kString, 0, "");
  EXPECT_TRUE(ReadStatus(bpe).ok()) << ReadStatus(bpe);
  GgufBuilder no_token = bpe;
  no_token.Uint("tokenizer.ggml.bos_token_id", 0xFFFFFFFF);
  EXPECT_TRUE(ReadStatus(no_token).ok());
  bpe.Uint("tokenizer.ggml.eos_token_id", 0x80000000);
  EXPECT_THAT(std::string(ReadStatus(bpe).message()), HasSubstr("eos_token_id"));
}

TEST(ModelTokenizerTest, GgufModelGetsItsTokenizer) {
  const auto source = OpenModel(KEYHOLE_GOLDEN_DIR "/tiny_llama.gguf", {});
  ASSERT_TRUE(source.ok()) << source.status();
  const auto tokenizer = LoadModelTokenizer(**source);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocab_size(), 300);
  EXPECT_EQ((*tokenizer)->Decode({259, 260}, false), "t\u00e90t\u00e91");
}

TEST(ModelTokenizerTest, SyntheticModelReadsBytes) {
  const auto source = OpenModel("synthetic:tiny", {});
  ASSERT_TRUE(source.ok()) << source.status();
  const auto tokenizer = LoadModelTokenizer(**source);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocab_size(), (*source)->config().vocab_size);
  const auto ids = (*tokenizer)->Encode("a \u00e9\n", {});
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_THAT(*ids, ElementsAre('a', ' ', 0xC3, 0xA9, '\n'));
  EXPECT_EQ((*tokenizer)->Decode(*ids, false), "a \u00e9\n");
  EXPECT_THAT((*tokenizer)->end_tokens(), ElementsAre(257));
}

}  // namespace
}  // namespace keyhole
