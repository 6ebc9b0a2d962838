#include "client/eval/fact.h"

#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace keyhole::eval {
namespace {

constexpr std::array<const char*, kMaxLookAlikes> kSubjects = {
    "The secret number of Oslo",     "The magic number of Lima",
    "The code of the blue door",     "The price of the old clock",
    "The number of the tall ship",   "The secret number of Cairo",
    "The weight of the red stone",   "The number of the lost coin",
    "The code of the iron gate",     "The magic number of Delhi",
    "The age of the great oak",      "The number of the grey house",
    "The secret number of Paris",    "The price of the silver ring",
    "The code of the north tower",   "The number of the night train",
    "The secret number of Tokyo",    "The weight of the brown bear",
    "The code of the glass box",     "The magic number of Quito",
    "The price of the green coat",   "The number of the last page",
    "The length of the long bridge", "The secret number of Perth",
    "The code of the stone cellar",  "The number of the fast horse",
    "The magic number of Havana",    "The price of the white boat",
    "The depth of the cold lake",    "The secret number of Dublin",
    "The code of the garden shed",   "The number of the yellow bus",
};

}  // namespace

std::vector<Fact> LookAlikeFacts(int count, Random* random) {
  std::vector<std::string> subjects(kSubjects.begin(), kSubjects.end());
  random->Shuffle(&subjects);
  std::vector<Fact> facts;
  for (int i = 0; i < count; ++i) {
    const std::string& subject = subjects[i];
    std::string inner = subject;
    inner[0] = absl::ascii_tolower(inner[0]);
    const std::string number = random->Number();
    facts.push_back(
        {.id = inner,
         .sentence = absl::StrCat(
             " ", subject, " is ", number, ". Remember it: ", inner, " is ", number, "."),
         .question = absl::StrCat("What is ", inner, "?"),
         .prime = absl::StrCat(subject, " is"),
         .answer = absl::StrCat(" ", number)});
  }
  return facts;
}

Fact PassKey(Random* random) {
  const std::string number = random->Number();
  return {.id = "pass key",
          .sentence = absl::StrCat(
              " The pass key is ", number, ". Remember it. ", number, " is the pass key."),
          .question = "What is the pass key?",
          .prime = "The pass key is",
          .answer = absl::StrCat(" ", number)};
}

}  // namespace keyhole::eval
