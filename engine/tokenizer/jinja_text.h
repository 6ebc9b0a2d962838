// String functions that behave as those of Python's str.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace keyhole::jinja {

// Simple case mappings, one character to one.
std::string ToUpper(std::string_view text);
std::string ToLower(std::string_view text);
std::string Capitalize(std::string_view text);
std::string ToTitle(std::string_view text);

std::int64_t CountCharacters(std::string_view text);
std::vector<std::string_view> Characters(std::string_view text);

// Without `separator`, at runs of white space. At most `max` cuts when max >= 0, from the end when
// `from_right`. REQUIRES: *separator is not empty.
std::vector<std::string_view> Split(std::string_view text,
                                    std::optional<std::string_view> separator,
                                    std::int64_t max,
                                    bool from_right);

std::vector<std::string_view> SplitLines(std::string_view text);

// Length of the result of Replace, which may be far longer than all its arguments.
std::size_t ReplacedSize(std::string_view text, std::string_view from, std::string_view to);
std::string Replace(std::string_view text,
                    std::string_view from,
                    std::string_view to,
                    std::int64_t max);

}  // namespace keyhole::jinja
