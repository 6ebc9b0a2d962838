#include "server/message_bytes.h"

#include <string>

#include "gtest/gtest.h"
#include "keyhole/v1/generation.pb.h"

namespace keyhole {
namespace {

grpc::ByteBuffer Bytes(const std::string& text) {
  const grpc::Slice slice(text);
  return grpc::ByteBuffer(&slice, 1);
}

TEST(MessageBytesTest, RoundTripOfALongMessage) {
  v1::GenerateRequest message;
  message.set_text(std::string(5 << 20, 'x'));
  const auto back = ParseMessage<v1::GenerateRequest>(SerializeMessage(message));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->text(), message.text());
}

TEST(MessageBytesTest, EmptyBytesAreAnEmptyMessage) {
  EXPECT_TRUE(ParseMessage<v1::GenerateRequest>(Bytes("")).ok());
}

TEST(MessageBytesTest, GarbageAndBadUtf8AreInvalid) {
  // Field 3 (text), two bytes: no start of a character; the second one cut short.
  for (const std::string& bytes : {std::string("\x1a\x02\xff\xfe"), std::string("\x1a\x05xx")}) {
    const auto message = ParseMessage<v1::GenerateRequest>(Bytes(bytes));
    EXPECT_EQ(message.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(GetErrorDetail(message.status()).reason, reason::kInvalidParameter);
  }
}

}  // namespace
}  // namespace keyhole
