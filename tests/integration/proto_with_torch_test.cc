// Every message of the API survives a round trip in a process that has LibTorch loaded, whose
// library exports symbols of an older Protobuf.
#include <memory>
#include <string>

#include "ATen/core/Tensor.h"
#include "ATen/ops/ones.h"
#include "google/protobuf/dynamic_message.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "keyhole/v1/generation.pb.h"

namespace keyhole {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Sets every field, sub-messages down to a depth.
void Fill(Message* message, int depth) {
  const Descriptor* type = message->GetDescriptor();
  const auto* reflection = message->GetReflection();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (depth == 0) continue;
      Fill(field->is_repeated() ? reflection->AddMessage(message, field)
                                : reflection->MutableMessage(message, field),
           depth - 1);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      if (field->is_repeated()) {
        reflection->AddString(message, field, "text");
      } else {
        reflection->SetString(message, field, "text");
      }
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_INT32) {
      if (field->is_repeated()) {
        reflection->AddInt32(message, field, -7);
      } else {
        reflection->SetInt32(message, field, -7);
      }
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_FLOAT) {
      reflection->SetFloat(message, field, 0.5F);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
      reflection->SetBool(message, field, true);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_UINT64) {
      reflection->SetUInt64(message, field, ~std::uint64_t{0});
    }
  }
}

TEST(ProtoWithTorchTest, EveryMessageSurvivesARoundTrip) {
  ASSERT_EQ(at::ones({2}).sum().item<float>(), 2) << "LibTorch is at work in this process";
  const auto* file = v1::GenerateRequest::descriptor()->file();
  auto* factory = google::protobuf::MessageFactory::generated_factory();
  ASSERT_GT(file->message_type_count(), 20);
  for (int i = 0; i < file->message_type_count(); ++i) {
    const Message* prototype = factory->GetPrototype(file->message_type(i));
    const std::unique_ptr<Message> message(prototype->New());
    Fill(message.get(), 4);
    const std::unique_ptr<Message> back(prototype->New());
    ASSERT_TRUE(back->ParseFromString(message->SerializeAsString()))
        << file->message_type(i)->name();
    EXPECT_EQ(back->SerializeAsString(), message->SerializeAsString());
    std::string text;
    ASSERT_TRUE(google::protobuf::TextFormat::PrintToString(*back, &text));
    const std::unique_ptr<Message> from_text(prototype->New());
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, from_text.get()));
  }
}

}  // namespace
}  // namespace keyhole
