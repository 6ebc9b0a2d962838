#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/eval/fact.h"

namespace keyhole::eval {
namespace {

struct Kind {
  const char* id;
  const char* sentence;  // $ stands for the answer
  const char* question;
  const char* prime;
  std::array<const char*, 6> values;
};

constexpr std::array<Kind, kMaxDiverse> kKinds = {{
    {"colour",
     "When Miriam moved to the harbour, she painted her front door $.",
     "What colour did Miriam paint her front door?",
     "Miriam painted her front door",
     {"green", "purple", "orange", "pink", "turquoise", "yellow"}},
    {"town",
     "Doctor Halvorsen was born in $, although he never speaks of it.",
     "Where was Doctor Halvorsen born?",
     "Doctor Halvorsen was born in",
     {"Lisbon", "Toronto", "Helsinki", "Nairobi", "Seattle", "Prague"}},
    {"name",
     "The captain of the ferry Aurora is called $ by all her passengers.",
     "What is the captain of the ferry Aurora called?",
     "The captain of the ferry Aurora is called",
     {"Ingrid", "Beatrice", "Olivia", "Charlotte", "Yvonne", "Harriet"}},
    {"day",
     "The library in Fairview is open every day of the week but $.",
     "On which day is the library in Fairview closed?",
     "The library in Fairview is open every day of the week but",
     {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Sunday"}},
    {"animal",
     "For her ninth birthday Penelope was given a $, which she named Biscuit.",
     "Which animal was Penelope given for her ninth birthday?",
     "For her ninth birthday Penelope was given a",
     {"rabbit", "parrot", "turtle", "hamster", "kitten", "pony"}},
    {"metal",
     "It turned out that the Winchester trophy is made of $ all the way through.",
     "What is the Winchester trophy made of?",
     "The Winchester trophy is made of",
     {"copper", "titanium", "aluminum", "zinc", "nickel", "platinum"}},
    {"year",
     "Construction of the Kessler lighthouse began in the year $.",
     "In which year did construction of the Kessler lighthouse begin?",
     "Construction of the Kessler lighthouse began in the year",
     {"1843", "1867", "1791", "1912", "1926", "1758"}},
    {"fruit",
     "Nothing but $ jam was ever served at Mrs. Pemberton's breakfast table.",
     "Which jam was served at Mrs. Pemberton's breakfast table?",
     "The jam at Mrs. Pemberton's breakfast table was",
     {"apricot", "cherry", "strawberry", "plum", "raspberry", "mango"}},
    {"profession",
     "Before he became mayor, Gustavo earned his living as a $.",
     "What was Gustavo before he became mayor?",
     "Before he became mayor, Gustavo was a",
     {"plumber", "dentist", "pilot", "tailor", "teacher", "lawyer"}},
    {"language",
     "At home the Novak twins speak $ with their grandmother.",
     "Which language do the Novak twins speak with their grandmother?",
     "With their grandmother the Novak twins speak",
     {"Portuguese", "Swedish", "Japanese", "Turkish", "Polish", "Korean"}},
    {"instrument",
     "Every evening Leopold practises the $ in the attic.",
     "Which instrument does Leopold practise in the attic?",
     "In the attic Leopold practises the",
     {"violin", "trombone", "cello", "piano", "clarinet", "guitar"}},
    {"street",
     "Letters for the Barker Trading Company go to 40 $ Street.",
     "On which street is the Barker Trading Company?",
     "The address of the Barker Trading Company is 40",
     {"Maple", "Lincoln", "Market", "Victoria", "Mill", "Station"}},
    {"password",
     "To enter the cellar of the Red Lion one must whisper the word $.",
     "Which word must one whisper to enter the cellar of the Red Lion?",
     "To enter the cellar of the Red Lion one must whisper the word",
     {"umbrella", "rocket", "velvet", "pepper", "lantern", "marble"}},
    {"tree",
     "In the middle of Saint Albans square stands a very old $ tree.",
     "Which tree stands in the middle of Saint Albans square?",
     "In the middle of Saint Albans square stands a very old",
     {"oak", "willow", "cedar", "chestnut", "pine", "walnut"}},
    {"river",
     "Their summer cottage overlooks the river $, and the fishing is good.",
     "Which river does their summer cottage overlook?",
     "Their summer cottage overlooks the river",
     {"Danube", "Thames", "Amazon", "Rhine", "Mississippi", "Volga"}},
    {"drink",
     "Inspector Duval never begins an inquiry without a cup of hot $.",
     "What does Inspector Duval drink before an inquiry?",
     "Before an inquiry Inspector Duval drinks a cup of hot",
     {"coffee", "chocolate", "milk", "cider", "tea", "lemonade"}},
    {"number",
     "Locker $ at the Brighton station belongs to Mr. Osborne.",
     "Which locker at the Brighton station belongs to Mr. Osborne?",
     "Mr. Osborne's locker at the Brighton station is locker",
     {"417", "862", "295", "738", "541", "683"}},
    {"sport",
     "Since the school was founded, its pupils have been known for their $ team.",
     "For which team are the pupils of the school known?",
     "Since the school was founded, its pupils have been known for their",
     {"hockey", "rugby", "tennis", "chess", "swimming", "baseball"}},
    {"planet",
     "On clear nights Professor Lindqvist points her telescope at $.",
     "At what does Professor Lindqvist point her telescope?",
     "Professor Lindqvist points her telescope at",
     {"Saturn", "Jupiter", "Mars", "Neptune", "Venus", "Uranus"}},
    {"flower",
     "The winner of the village show was a basket of white $ from the vicarage.",
     "What was in the basket that won the village show?",
     "The winner of the village show was a basket of white",
     {"roses", "tulips", "daisies", "lilies", "orchids", "violets"}},
    {"shape",
     "Archaeologists found that the temple at Karsh had the plan of a $.",
     "What was the plan of the temple at Karsh?",
     "The temple at Karsh had the plan of a",
     {"triangle", "circle", "hexagon", "star", "cross", "spiral"}},
    {"country",
     "Next spring the Hamiltons will emigrate to $ with all their furniture.",
     "To which country will the Hamiltons emigrate?",
     "Next spring the Hamiltons will emigrate to",
     {"Australia", "Canada", "Argentina", "Norway", "Ireland", "Mexico"}},
    {"vehicle",
     "Uncle Bernard travels to his office by $, whatever the weather.",
     "How does Uncle Bernard travel to his office?",
     "Uncle Bernard travels to his office by",
     {"bicycle", "tram", "helicopter", "train", "taxi", "boat"}},
    {"cloth",
     "Under the new rules the judges' robes must be of pure $.",
     "Of what must the judges' robes be under the new rules?",
     "Under the new rules the judges' robes must be of pure",
     {"cotton", "silk", "wool", "linen", "cashmere", "hemp"}},
}};

}  // namespace

std::vector<Fact> DiverseFacts(int count, Random* random) {
  std::vector<const Kind*> kinds;
  for (const Kind& kind : kKinds) kinds.push_back(&kind);
  random->Shuffle(&kinds);
  std::vector<Fact> facts;
  for (int i = 0; i < count; ++i) {
    const Kind& kind = *kinds[i];
    const std::string value = kind.values[random->Below(kind.values.size())];
    facts.push_back(
        {.id = kind.id,
         .sentence = absl::StrCat(" ", absl::StrReplaceAll(kind.sentence, {{"$", value}})),
         .question = kind.question,
         .prime = kind.prime,
         .answer = absl::StrCat(" ", value)});
  }
  return facts;
}

}  // namespace keyhole::eval
