#include "engine/tokenizer/spm_model_file.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

#include "engine/status_macros.h"
#include "engine/tokenizer/vocabulary.h"

namespace keyhole {
namespace {

// One field of a message in Protocol Buffers' wire format.
struct Field {
  std::uint32_t number = 0;
  std::uint64_t value = 0;  // a varint or a fixed number's bits
  std::string_view bytes;   // a length-delimited field's content
};

class FieldReader {
 public:
  explicit FieldReader(std::string_view message) : rest_(message) {}

  bool done() const { return rest_.empty(); }

  absl::StatusOr<Field> Next() {
    KEYHOLE_ASSIGN_OR_RETURN(const std::uint64_t tag, Varint());
    Field field;
    field.number = static_cast<std::uint32_t>(tag >> 3);
    switch (tag & 7) {
      case 0: {
        KEYHOLE_ASSIGN_OR_RETURN(field.value, Varint());
        return field;
      }
      case 1:
        return Fixed(8, field);
      case 2: {
        KEYHOLE_ASSIGN_OR_RETURN(const std::uint64_t length, Varint());
        if (length > rest_.size()) return Broken();
        field.bytes = rest_.substr(0, length);
        rest_.remove_prefix(length);
        return field;
      }
      case 5:
        return Fixed(4, field);
      default:
        return Broken();
    }
  }

 private:
  static absl::Status Broken() {
    return absl::InvalidArgumentError("tokenizer.model: not a SentencePiece model, or cut off");
  }

  absl::StatusOr<std::uint64_t> Varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<std::uint8_t>(rest_[0]);
      rest_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    return Broken();
  }

  absl::StatusOr<Field> Fixed(std::size_t size, Field field) {
    if (rest_.size() < size) return Broken();
    std::memcpy(&field.value, rest_.data(), size);
    rest_.remove_prefix(size);
    return field;
  }

  std::string_view rest_;
};

absl::Status Unsupported(std::string_view what) {
  return absl::UnimplementedError("tokenizer.model: " + std::string(what) + " is not supported");
}

absl::Status ReadPiece(std::string_view message, TokenizerData* data) {
  std::string text;
  float score = 0;
  int type = kTokenNormal;
  for (FieldReader reader(message); !reader.done();) {
    KEYHOLE_ASSIGN_OR_RETURN(const Field field, reader.Next());
    if (field.number == 1) text = field.bytes;
    if (field.number == 2) score = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
    if (field.number == 3) type = static_cast<int>(field.value);
  }
  if (data->tokens.size() == kMaxVocabularySize) {
    return absl::InvalidArgumentError("tokenizer.model: too many pieces");
  }
  data->tokens.push_back(std::move(text));
  data->scores.push_back(score);
  data->types.push_back(type);
  return absl::OkStatus();
}

// The texts of TrainerSpec's control pieces; their ids are those of the pieces.
struct ControlPieces {
  std::string_view unk = "<unk>";
  std::string_view bos = "<s>";
  std::string_view eos = "</s>";
  std::string_view pad = "<pad>";
};

absl::Status ReadTrainerSpec(std::string_view message, ControlPieces* pieces) {
  std::uint64_t model_type = 1;
  for (FieldReader reader(message); !reader.done();) {
    KEYHOLE_ASSIGN_OR_RETURN(const Field field, reader.Next());
    if (field.number == 3) model_type = field.value;
    if (field.number == 24 && field.value != 0) return Unsupported("white space as a suffix");
    if (field.number == 45) pieces->unk = field.bytes;
    if (field.number == 46) pieces->bos = field.bytes;
    if (field.number == 47) pieces->eos = field.bytes;
    if (field.number == 48) pieces->pad = field.bytes;
  }
  if (model_type == 1) return Unsupported("the Unigram model");
  if (model_type != 2) return Unsupported("a model that is not BPE");
  return absl::OkStatus();
}

absl::Status ReadNormalizerSpec(std::string_view message, TokenizerData* data) {
  data->add_space_prefix = true;
  data->remove_extra_whitespaces = true;
  for (FieldReader reader(message); !reader.done();) {
    KEYHOLE_ASSIGN_OR_RETURN(const Field field, reader.Next());
    if (field.number == 2 && !field.bytes.empty()) {
      return Unsupported("a normalizer other than 'identity'");
    }
    if (field.number == 3) data->add_space_prefix = field.value != 0;
    if (field.number == 4) data->remove_extra_whitespaces = field.value != 0;
    if (field.number == 5 && field.value == 0) return Unsupported("unescaped white space");
  }
  return absl::OkStatus();
}

void FindControlPieces(const ControlPieces& pieces, TokenizerData* data) {
  for (TokenId id = 0; id < static_cast<TokenId>(data->tokens.size()); ++id) {
    const std::string_view text = data->tokens[id];
    if (data->types[id] == kTokenUnknown && text == pieces.unk) data->unk = id;
    if (data->types[id] != kTokenControl) continue;
    if (text == pieces.bos) data->bos = id;
    if (text == pieces.eos) data->eos = id;
    if (text == pieces.pad) data->pad = id;
  }
}

}  // namespace

absl::StatusOr<TokenizerData> ParseSpmModel(std::string_view bytes) {
  TokenizerData data;
  data.kind = TokenizerData::Kind::kSentencePiece;
  std::string_view trainer;
  std::string_view normalizer;
  for (FieldReader reader(bytes); !reader.done();) {
    KEYHOLE_ASSIGN_OR_RETURN(const Field field, reader.Next());
    if (field.number == 1) KEYHOLE_RETURN_IF_ERROR(ReadPiece(field.bytes, &data));
    if (field.number == 2) trainer = field.bytes;
    if (field.number == 3) normalizer = field.bytes;
    if (field.number == 5 && !field.bytes.empty()) {
      return Unsupported("a denormalizer");
    }
  }
  ControlPieces pieces;
  KEYHOLE_RETURN_IF_ERROR(ReadTrainerSpec(trainer, &pieces));
  KEYHOLE_RETURN_IF_ERROR(ReadNormalizerSpec(normalizer, &data));
  FindControlPieces(pieces, &data);
  return data;
}

}  // namespace keyhole
