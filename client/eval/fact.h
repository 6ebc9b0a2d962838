// What is hidden in a document and asked for: a sentence, a question and the start of its answer.
#pragma once

#include <string>
#include <vector>

#include "client/eval/random.h"

namespace keyhole::eval {

struct Fact {
  std::string id = {};        // names it in results
  std::string sentence = {};  // begins with a space
  std::string question = {};
  std::string prime = {};   // start of the answer, given to the model
  std::string answer = {};  // what the model must go on with; begins with a space
};

// Facts of one form that differ in subject and number alone: the hardest to tell apart. In an order
// drawn at random; at most kMaxLookAlikes.
inline constexpr int kMaxLookAlikes = 32;
std::vector<Fact> LookAlikeFacts(int count, Random* random);

// Facts that share neither form nor kind of answer. In an order drawn at random; at most
// kMaxDiverse.
inline constexpr int kMaxDiverse = 24;
std::vector<Fact> DiverseFacts(int count, Random* random);

// The one fact of the passkey task.
Fact PassKey(Random* random);

}  // namespace keyhole::eval
