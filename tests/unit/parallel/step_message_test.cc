#include "engine/parallel/step_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

std::vector<PageId> Pages(std::int32_t n, PageId first) {
  std::vector<PageId> pages(n);
  std::iota(pages.begin(), pages.end(), first);
  return pages;
}

SequenceSlice DecodeSlice(RequestId id, std::int32_t kv_len, const std::vector<PageId>& pages) {
  SequenceSlice slice;
  slice.id = id;
  slice.q_len = 1;
  slice.kv_len = kv_len;
  slice.prompt_len = kv_len;
  slice.pages = pages;
  slice.sample = true;
  return slice;
}

ModelInput OneToken(const SequenceSlice& slice) {
  ModelInput input;
  input.token_ids = {5};
  input.positions = {slice.kv_len};
  input.sequences = {slice};
  return input;
}

void ExpectSlice(const SequenceSlice& read, const SequenceSlice& written) {
  EXPECT_EQ(read.id, written.id);
  EXPECT_EQ(read.q_begin, written.q_begin);
  EXPECT_EQ(read.q_len, written.q_len);
  EXPECT_EQ(read.kv_len, written.kv_len);
  EXPECT_EQ(read.prompt_len, written.prompt_len);
  EXPECT_EQ(read.sample, written.sample);
  EXPECT_EQ(read.prompt_logprob_first, written.prompt_logprob_first);
  EXPECT_EQ(read.prompt_logprob_count, written.prompt_logprob_count);
  EXPECT_THAT(read.pages, ElementsAreArray(written.pages));
}

TEST(StepMessage, AStepArrivesWhole) {
  const std::vector<PageId> decode_pages = Pages(3, 10);
  const std::vector<PageId> prefill_pages = Pages(5, 40);
  Request request;
  request.selection.selected_tokens = 77;
  request.selection.profile = AttentionProfile::kProse;
  request.selection.force_full_attention = true;
  ModelInput input;
  input.token_ids = {5, 6, 7, 8};
  input.positions = {130, 64, 65, 66};
  input.ended = {3, 1000000000000};
  input.sequences = {DecodeSlice(12, 130, decode_pages), DecodeSlice(13, 64, prefill_pages)};
  SequenceSlice& prefill = input.sequences[1];
  prefill.q_begin = 1;
  prefill.q_len = 3;
  prefill.prompt_len = 300;
  prefill.sample = false;
  prefill.prompt_logprob_first = 1;
  prefill.prompt_logprob_count = 2;
  prefill.request = &request;

  StepEncoder encoder;
  StepDecoder decoder;
  const auto message = decoder.Decode(encoder.Encode(input, std::vector<PageId>{90, 91}));
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->kind, MessageKind::kStep);
  EXPECT_THAT(message->freed, ElementsAre(90, 91));
  EXPECT_EQ(message->input.token_ids, input.token_ids);
  EXPECT_EQ(message->input.positions, input.positions);
  EXPECT_EQ(message->input.ended, input.ended);
  ASSERT_EQ(message->input.sequences.size(), 2);
  ExpectSlice(message->input.sequences[0], input.sequences[0]);
  ExpectSlice(message->input.sequences[1], prefill);
  EXPECT_EQ(message->input.sequences[0].request, nullptr);
  const Request* read = message->input.sequences[1].request;
  ASSERT_NE(read, nullptr);
  EXPECT_EQ(read->selection.selected_tokens, 77);
  EXPECT_EQ(read->selection.profile, AttentionProfile::kProse);
  EXPECT_TRUE(read->selection.force_full_attention);
}

TEST(StepMessage, WhatARequestDoesNotSayStaysUnsaid) {
  const Request request;
  const std::vector<PageId> pages = Pages(1, 0);
  SequenceSlice slice = DecodeSlice(1, 4, pages);
  slice.request = &request;
  StepEncoder encoder;
  StepDecoder decoder;
  const auto message = decoder.Decode(encoder.Encode(OneToken(slice), {}));
  ASSERT_TRUE(message.ok()) << message.status();
  const SelectionParams& selection = message->input.sequences[0].request->selection;
  EXPECT_FALSE(selection.selected_tokens.has_value());
  EXPECT_FALSE(selection.profile.has_value());
  EXPECT_FALSE(selection.force_full_attention);
}

TEST(StepMessage, APageTableIsSentOnce) {
  const std::vector<PageId> pages = Pages(10000, 7);
  StepEncoder encoder;
  StepDecoder decoder;
  const std::string first = encoder.Encode(OneToken(DecodeSlice(1, 600000, pages)), {});
  EXPECT_GT(first.size(), 10000 * sizeof(PageId));
  ASSERT_TRUE(decoder.Decode(first).ok());
  const std::string second = encoder.Encode(OneToken(DecodeSlice(1, 600001, pages)), {});
  EXPECT_LT(second.size(), 200);
  const auto message = decoder.Decode(second);
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_THAT(message->input.sequences[0].pages, ElementsAreArray(pages));
}

TEST(StepMessage, AChangedPageTableArrives) {
  StepEncoder encoder;
  StepDecoder decoder;
  std::vector<PageId> pages = Pages(8, 20);
  ASSERT_TRUE(decoder.Decode(encoder.Encode(OneToken(DecodeSlice(1, 9, pages)), {})).ok());
  for (const auto& change : {Pages(12, 20), Pages(4, 20), std::vector<PageId>{20, 21, 5, 6, 7}}) {
    pages = change;
    const auto message = decoder.Decode(encoder.Encode(OneToken(DecodeSlice(1, 9, pages)), {}));
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_THAT(message->input.sequences[0].pages, ElementsAreArray(pages));
  }
}

TEST(StepMessage, AnEndedSequenceIsForgottenOnBothSides) {
  StepEncoder encoder;
  StepDecoder decoder;
  const std::vector<PageId> pages = Pages(100, 0);
  ASSERT_TRUE(decoder.Decode(encoder.Encode(OneToken(DecodeSlice(1, 9, pages)), {})).ok());
  ModelInput end;
  end.ended = {1};
  const auto ended = decoder.Decode(encoder.Encode(end, {}));
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_THAT(ended->input.sequences, IsEmpty());
  const std::string again = encoder.Encode(OneToken(DecodeSlice(1, 9, pages)), {});
  EXPECT_GT(again.size(), 100 * sizeof(PageId));
  const auto message = decoder.Decode(again);
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_THAT(message->input.sequences[0].pages, ElementsAreArray(pages));
}

TEST(StepMessage, OtherMessagesHaveNoStep) {
  StepDecoder decoder;
  for (const MessageKind kind : {MessageKind::kPing, MessageKind::kStop}) {
    const auto message = decoder.Decode(EncodeMessage(kind));
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_EQ(message->kind, kind);
  }
}

TEST(StepMessage, EveryTruncationIsAnError) {
  const std::vector<PageId> pages = Pages(3, 1);
  StepEncoder encoder;
  const std::string whole = encoder.Encode(OneToken(DecodeSlice(1, 9, pages)), pages);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    StepDecoder decoder;
    EXPECT_FALSE(decoder.Decode(std::string_view(whole).substr(0, size)).ok()) << size;
  }
  StepDecoder decoder;
  EXPECT_FALSE(decoder.Decode(whole + "x").ok());
  EXPECT_TRUE(StepDecoder().Decode(whole).ok());
  EXPECT_FALSE(StepDecoder().Decode("\x7f").ok());
}

TEST(StepMessage, ATableThatTheDecoderNeverGotIsAnError) {
  const std::vector<PageId> pages = Pages(3, 1);
  StepEncoder encoder;
  encoder.Encode(OneToken(DecodeSlice(1, 9, pages)), {});
  StepDecoder decoder;
  EXPECT_FALSE(decoder.Decode(encoder.Encode(OneToken(DecodeSlice(1, 10, pages)), {})).ok());
}

}  // namespace
}  // namespace keyhole
