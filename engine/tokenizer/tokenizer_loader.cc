#include "engine/tokenizer/tokenizer_loader.h"

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>

#include "engine/status_macros.h"
#include "engine/tokenizer/spm_model_file.h"
#include "engine/tokenizer/tokenizer_json.h"

namespace keyhole {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{64} << 20;

// Content of a file of the directory; nothing when it does not exist.
absl::StatusOr<std::optional<std::string>> ReadFile(const std::string& directory,
                                                    const char* name) {
  const std::filesystem::path path = std::filesystem::path(directory) / name;
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return std::nullopt;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error || size > kMaxFileBytes) {
    return absl::InvalidArgumentError(path.string() + ": not readable, or larger than " +
                                      std::to_string(kMaxFileBytes) + " bytes");
  }
  std::string content(size, '\0');
  std::ifstream stream(path, std::ios::binary);
  if (!stream.read(content.data(), static_cast<std::streamsize>(size))) {
    return absl::InvalidArgumentError(path.string() + ": cannot be read");
  }
  return content;
}

}  // namespace

absl::StatusOr<TokenizerData> ReadTokenizerDirectory(const std::string& directory) {
  KEYHOLE_ASSIGN_OR_RETURN(const std::optional<std::string> json,
                           ReadFile(directory, "tokenizer.json"));
  KEYHOLE_ASSIGN_OR_RETURN(const std::optional<std::string> model,
                           ReadFile(directory, "tokenizer.model"));
  if (!json && !model) {
    return absl::NotFoundError(directory + ": neither tokenizer.json nor tokenizer.model");
  }
  KEYHOLE_ASSIGN_OR_RETURN(TokenizerData data,
                           json ? ParseTokenizerJson(*json) : ParseSpmModel(*model));
  KEYHOLE_ASSIGN_OR_RETURN(const std::optional<std::string> config,
                           ReadFile(directory, "tokenizer_config.json"));
  if (config)
    KEYHOLE_RETURN_IF_ERROR(ParseTokenizerConfig(*config, /*with_added_tokens=*/!json, &data));
  KEYHOLE_ASSIGN_OR_RETURN(const std::optional<std::string> generation,
                           ReadFile(directory, "generation_config.json"));
  if (generation) KEYHOLE_RETURN_IF_ERROR(ParseGenerationConfig(*generation, &data));
  KEYHOLE_ASSIGN_OR_RETURN(std::optional<std::string> chat_template,
                           ReadFile(directory, "chat_template.jinja"));
  if (chat_template) data.chat_template = *std::move(chat_template);
  return data;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& directory) {
  KEYHOLE_ASSIGN_OR_RETURN(TokenizerData data, ReadTokenizerDirectory(directory));
  return MakeTokenizer(std::move(data));
}

}  // namespace keyhole
