// Encodes documents with the engine's tokenizer, for comparison with other implementations.
//
//   encode_tool <file.gguf | directory> [--no-special-tokens] [--parse-special] [--decode]
//
// Standard input: documents, each a little-endian uint32 length and as many bytes. Standard output:
// for each document a uint32 count and the ids as int32; with --decode then a uint32 length and the
// text that the ids decode to, which the incremental detokeniser must give as well. A document that
// is refused has the count 0xFFFFFFFF.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/model/gguf_file.h"
#include "engine/model/gguf_tokenizer.h"
#include "engine/tokenizer/incremental_detokenizer.h"
#include "engine/tokenizer/tokenizer_loader.h"

namespace keyhole {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string source;
  EncodeOptions encode;
  bool decode = false;
};

std::optional<Options> ParseOptions(int argc, char** argv) {
  if (argc < 2) return std::nullopt;
  Options options{.source = argv[1], .encode = {.parse_special_tokens = false}};
  for (int i = 2; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--no-special-tokens") {
      options.encode.add_special_tokens = false;
    } else if (flag == "--parse-special") {
      options.encode.parse_special_tokens = true;
    } else if (flag == "--decode") {
      options.decode = true;
    } else {
      return std::nullopt;
    }
  }
  return options;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Open(const std::string& source) {
  if (!source.ends_with(".gguf")) return LoadTokenizer(source);
  absl::StatusOr<GgufFile> file = GgufFile::Open(source);
  if (!file.ok()) return file.status();
  absl::StatusOr<TokenizerData> data = ReadGgufTokenizer(*file);
  if (!data.ok()) return data.status();
  return MakeTokenizer(*std::move(data));
}

bool ReadDocument(std::string* document) {
  std::uint32_t length = 0;
  if (std::fread(&length, sizeof(length), 1, stdin) != 1) return false;
  document->resize(length);
  return std::fread(document->data(), 1, length, stdin) == length;
}

template <typename T>
void Write(const T* values, std::size_t n) {
  const auto count = static_cast<std::uint32_t>(n);
  std::fwrite(&count, sizeof(count), 1, stdout);
  std::fwrite(values, sizeof(T), n, stdout);
}

std::string DecodeStepwise(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  IncrementalDetokenizer detokenizer(&tokenizer);
  std::string text;
  for (const TokenId id : ids) text += detokenizer.Push(id);
  return text + detokenizer.Finish();
}

// Returns the exit status.
int EncodeAll(const Tokenizer& tokenizer, const Options& options) {
  std::string document;
  std::size_t bytes = 0;
  std::chrono::duration<double> spent{0};
  while (ReadDocument(&document)) {
    const auto start = Clock::now();
    const absl::StatusOr<std::vector<TokenId>> ids = tokenizer.Encode(document, options.encode);
    spent += Clock::now() - start;
    bytes += document.size();
    if (!ids.ok()) {
      const auto refused = std::numeric_limits<std::uint32_t>::max();
      std::fwrite(&refused, sizeof(refused), 1, stdout);
      continue;
    }
    Write(ids->data(), ids->size());
    if (!options.decode) continue;
    const std::string text = tokenizer.Decode(*ids, /*keep_special=*/false);
    if (DecodeStepwise(tokenizer, *ids) != text) {
      std::fprintf(stderr, "the incremental detokeniser gives another text\n");
      return 1;
    }
    Write(text.data(), text.size());
  }
  std::fprintf(stderr,
               "%.2f MB in %.3f s: %.1f MB/s\n",
               bytes / 1e6,
               spent.count(),
               bytes / 1e6 / spent.count());
  return 0;
}

int Main(int argc, char** argv) {
  const std::optional<Options> options = ParseOptions(argc, argv);
  if (!options) {
    std::fprintf(stderr,
                 "usage: encode_tool <file.gguf | directory> [--no-special-tokens] "
                 "[--parse-special] [--decode]\n");
    return 2;
  }
  const absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Open(options->source);
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", tokenizer.status().ToString().c_str());
    return 1;
  }
  return EncodeAll(**tokenizer, *options);
}

}  // namespace
}  // namespace keyhole

int main(int argc, char** argv) { return keyhole::Main(argc, argv); }
