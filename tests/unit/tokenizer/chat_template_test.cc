#include "engine/tokenizer/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

namespace keyhole {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<std::string> Render(std::string_view source, const ChatPrompt& messages = {}) {
  absl::StatusOr<ChatTemplate> parsed = ChatTemplate::Parse(source);
  if (!parsed.ok()) return parsed.status();
  return parsed->Render(messages, {.bos_token = "<s>", .eos_token = "</s>"});
}

std::string ErrorOf(std::string_view source) {
  const absl::StatusOr<std::string> rendered = Render(source);
  EXPECT_EQ(rendered.status().code(), absl::StatusCode::kInvalidArgument) << source;
  return std::string(rendered.status().message());
}

ChatPrompt ReadMessages(const nlohmann::json& list) {
  ChatPrompt messages;
  for (const auto& message : list) messages.push_back({message.at("role"), message.at("content")});
  return messages;
}

// Cases made by Jinja itself, see tests/golden/make_chat_template.py.
TEST(ChatTemplate, RendersAsJinjaDoes) {
  std::ifstream stream(CHAT_TEMPLATE_CASES);
  const nlohmann::json file = nlohmann::json::parse(stream);
  ASSERT_GT(file.at("cases").size(), 400u);
  for (const auto& test_case : file.at("cases")) {
    const std::string source = file.at("templates").at(test_case.at("template").get<int>());
    const ChatPrompt messages =
        ReadMessages(file.at("conversations").at(test_case.at("messages").get<int>()));
    SCOPED_TRACE(test_case.at("name").get<std::string>());
    const absl::StatusOr<ChatTemplate> parsed = ChatTemplate::Parse(source);
    const absl::StatusOr<std::string> rendered =
        parsed.ok()
            ? parsed->Render(messages,
                             {.bos_token = "<s>",
                              .eos_token = "</s>",
                              .add_generation_prompt = test_case.at("add_generation_prompt")})
            : parsed.status();
    if (test_case.at("expected").is_null()) {
      EXPECT_FALSE(rendered.ok()) << *rendered;
    } else {
      ASSERT_TRUE(rendered.ok()) << rendered.status();
      EXPECT_EQ(*rendered, test_case.at("expected").get<std::string>());
    }
  }
}

TEST(ChatTemplate, NamesWhatIsNotSupportedWithItsLine) {
  EXPECT_THAT(ErrorOf("a\nb\n{% include 'x' %}"), HasSubstr("line 3: statement 'include'"));
  EXPECT_THAT(ErrorOf("{{ x|frobnicate }}"), HasSubstr("filter 'frobnicate'"));
  EXPECT_THAT(ErrorOf("\n{{ x is prime }}"), HasSubstr("line 2: test 'prime'"));
  EXPECT_THAT(ErrorOf("{% for a in b recursive %}{% endfor %}"), HasSubstr("recursive"));
  EXPECT_THAT(ErrorOf("{{ 'a'.format(1) }}"), HasSubstr("method 'format'"));
  EXPECT_THAT(ErrorOf("{{ messages.append(1) }}"), HasSubstr("method 'append'"));
  EXPECT_THAT(ErrorOf("{{ ''.__class__ }}{{ ''.__class__.__mro__ }}"), HasSubstr("undefined"));
}

TEST(ChatTemplate, RefusesBrokenTemplates) {
  for (const char* source : {"{{",
                             "{{ 1",
                             "{% if %}",
                             "{% if 1 %}",
                             "{% endif %}",
                             "{% for %}",
                             "{{ 'a }}",
                             "{# x",
                             "{{ 1 + }}",
                             "{{ (1 }}",
                             "{{ 1) }}",
                             "{{ a[ }}",
                             "{{ a[1:2:3:4] }}",
                             "{% set %}",
                             "{% set x %}",
                             "{{ f(a=1, 2) }}",
                             "{{ | trim }}",
                             "{{ '\\ud800' }}",
                             "{% break %}",
                             "{{ 99999999999999999999 }}",
                             "{% macro %}{% endmacro %}",
                             "{{ {1: 2} }}",
                             "{{ a b }}",
                             "\xff",
                             "{{ \"\\U00110000\" }}",
                             "{% else %}",
                             "{%",
                             "{{ 1 ** 2 }}",
                             "{{ \x01 }}"}) {
    EXPECT_EQ(Render(source).status().code(), absl::StatusCode::kInvalidArgument) << source;
  }
}

TEST(ChatTemplate, RaisedErrorsReachTheCaller) {
  EXPECT_THAT(ErrorOf("{{ raise_exception('roles must alternate') }}"),
              HasSubstr("roles must alternate"));
}

TEST(ChatTemplate, DateIsDefinedOnlyWhenGiven) {
  constexpr std::string_view kSource =
      "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% else %}fixed{% endif %}";
  const ChatTemplate parsed = *ChatTemplate::Parse(kSource);
  EXPECT_EQ(*parsed.Render({}, {}), "fixed");
  EXPECT_EQ(*parsed.Render({}, {.now = absl::FromUnixSeconds(1'700'000'000)}), "14 Nov 2023");
}

TEST(ChatTemplate, BoundsHoldAgainstBombs) {
  const std::string deep_list(2000, '[');
  const std::string deep_parenthesis = "{{ " + std::string(2000, '(') + "1";
  std::string long_sum = "{{ 1";
  for (int i = 0; i < 5000; ++i) long_sum += " + 1";
  std::string nested_ifs;
  for (int i = 0; i < 1000; ++i) nested_ifs += "{% if 1 %}";
  std::string deep_value = "{% set x = [] %}";
  deep_value +=
      "{% set ns = namespace(v=[]) %}{% for i in range(100000) %}{% set ns.v = [ns.v] "
      "%}{% endfor %}{{ ns.v }}";
  const std::string bombs[] = {
      "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
      "endfor %}",
      "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
      "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
      "{{ 'x' * 999999999999 }}",
      "{{ 'xxxxxxxx'|replace('x', 'y' * 9000000) }}",
      "{{ ('x' * 900000)|replace('', 'y' * 900000) }}",
      "{{ range(999999999)|list }}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
      "{{ " + deep_list + " }}",
      deep_parenthesis,
      long_sum + " }}",
      nested_ifs,
      deep_value,
      "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}{% "
      "endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(30) %}{% set ns.l = [ns.l, ns.l] %}{% "
      "endfor "
      "%}{{ ns.l }}",
  };
  for (const std::string& bomb : bombs) {
    const std::clock_t start = std::clock();
    EXPECT_EQ(Render(bomb).status().code(), absl::StatusCode::kInvalidArgument)
        << bomb.substr(0, 100);
    EXPECT_LT(std::clock() - start, 20 * CLOCKS_PER_SEC) << bomb.substr(0, 100);
  }
}

TEST(ChatTemplate, LongConversationsFit) {
  ChatPrompt messages;
  for (int i = 0; i < 5000; ++i) {
    messages.push_back({i % 2 == 0 ? "user" : "assistant", std::string(1000, 'x')});
  }
  messages[2].content.assign(8 << 20, 'y');
  const absl::StatusOr<std::string> rendered = Render(
      "{% for m in messages %}{{ '<' + m.role + '>' + m.content | trim + eos_token }}{% endfor %}",
      messages);
  ASSERT_TRUE(rendered.ok()) << rendered.status();
  EXPECT_GT(rendered->size(), 13'000'000u);
}

}  // namespace
}  // namespace keyhole
