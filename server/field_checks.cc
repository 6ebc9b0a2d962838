#include "server/field_checks.h"

#include "engine/request/error.h"

namespace keyhole {
namespace {

absl::Status Invalid(std::string_view field,
                     const std::string& message,
                     std::vector<std::pair<std::string, std::string>> metadata) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   message,
                   {.reason = std::string(reason::kInvalidParameter),
                    .field = std::string(field),
                    .metadata = std::move(metadata)});
}

}  // namespace

absl::Status OutOfRange(std::string_view field,
                        std::string_view range,
                        std::vector<std::pair<std::string, std::string>> metadata) {
  return Invalid(field,
                 absl::StrCat(std::string(field), " must be in ", std::string(range), "."),
                 std::move(metadata));
}

absl::Status CheckCount(std::string_view field, int count, int most) {
  if (count <= most) return absl::OkStatus();
  return Invalid(field,
                 absl::StrCat(std::string(field), " takes at most ", most, " entries."),
                 {{"count", absl::StrCat(count)}, {"max", absl::StrCat(most)}});
}

absl::Status CheckBytes(std::string_view field, std::size_t size, std::size_t most) {
  if (size <= most) return absl::OkStatus();
  return Invalid(field,
                 absl::StrCat(std::string(field), " takes at most ", most, " bytes."),
                 {{"bytes", absl::StrCat(size)}, {"max", absl::StrCat(most)}});
}

}  // namespace keyhole
