#include "client/eval/fact.h"

#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace keyhole::eval {
namespace {

constexpr std::array<const char*, kMaxLookAlikes> kSubjects = {
    "The gate code",
    "The harbour number",
    "The price of the clock",
    "The weight of the stone",
    "The height of the tower",
    "The year of the flood",
    "The population of Oslo",
    "The depth of the well",
    "The ticket of the traveller",
    "The speed of the train",
    "The pin of the safe",
    "The room of the doctor",
    "The cost of the bridge",
    "The age of the oak",
    "The length of the river",
    "The score of the match",
    "The tax on salt",
    "The rent of the mill",
    "The licence of the taxi",
    "The altitude of the pass",
    "The salary of the clerk",
    "The count of the sheep",
    "The telephone of the baker",
    "The distance to the moon",
    "The volume of the barrel",
    "The page of the poem",
    "The temperature of the oven",
    "The balance of the account",
    "The serial of the violin",
    "The width of the canal",
    "The flight of the pilot",
    "The record of the runner",
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
