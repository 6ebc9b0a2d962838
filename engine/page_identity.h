// What the prefix cache must know: which rows of the same tokens are the same rows.
#pragma once

#include <string>

#include "engine/attention/selective_attention.h"
#include "engine/engine.h"
#include "engine/engine_config.h"
#include "engine/request/sequence_positions.h"
#include "engine/scheduler/prefix_rules.h"
#include "engine/selection/policy_parts.h"

namespace keyhole {

// All that the rows and digests of the same tokens depend on, the request's own settings aside.
std::string PageIdentity(const EngineConfig& config,
                         const ModelInfo& model,
                         const AttentionSettings& attention,
                         const PolicyParts& policy);

PrefixRules PrefixRulesOf(const AttentionSettings& attention, const Chunking& chunking);

}  // namespace keyhole
