// The parsed form of a chat template.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace keyhole::jinja {

// What each kind holds in `text`, `names`, `children` (c0, c1, ...; "?" may be null) and
// `keywords`.
enum class NodeKind {
  // Expressions
  kString,   // text
  kInteger,  // integer
  kFloat,    // number
  kTrue,
  kFalse,
  kNone,
  kName,         // text
  kList,         // items
  kTuple,        // items
  kDict,         // key, value, key, value, ...
  kAttribute,    // c0.text
  kItem,         // c0[c1]
  kSlice,        // c0[c1?:c2?:c3?]
  kCall,         // c0(c1, ..., keywords)
  kFilter,       // c0 | text(c1, ..., keywords)
  kTest,         // c0 is text(c1, ...)
  kNot,          // not c0
  kNegate,       // -c0
  kBinary,       // c0 text c1: arithmetic and ~
  kAnd,          // c0, c1
  kOr,           // c0, c1
  kCompare,      // c0 names[0] c1 names[1] c2 ...
  kConditional,  // c0 if c1 else c2?
  // Statements
  kData,      // text
  kOutput,    // c0
  kBlock,     // statements
  kIf,        // c0, c1 block, c2? block or kIf
  kFor,       // names in c0 if c1?: c2 block, else c3?
  kSet,       // names = c0; with text: names[0].text = c0
  kSetBlock,  // names[0] = output of c0
  kMacro,     // text(names), keywords are the defaults; c0 block
  kBreak,
  kContinue,
};

struct Node {
  NodeKind kind;
  int line = 0;
  int depth = 1;  // of the tree below, itself included
  std::string text;
  std::int64_t integer = 0;
  double number = 0;
  std::vector<std::string> names;
  std::vector<std::unique_ptr<Node>> children;
  std::vector<std::pair<std::string, std::unique_ptr<Node>>> keywords;
};

using NodePtr = std::unique_ptr<Node>;

}  // namespace keyhole::jinja
