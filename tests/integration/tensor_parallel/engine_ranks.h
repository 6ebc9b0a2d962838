// Engines and workers of a small model, in this process and in others.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "engine/engine.h"
#include "engine/engine_config.h"
#include "tests/support/child_process.h"
#include "tests/support/recording_sink.h"

namespace keyhole::testing {

// Of anything that a test waits for: no figure, an end.
inline constexpr absl::Duration kDeadline = absl::Seconds(90);

// Rank 0 at a free port of this machine, with times that no slow machine reaches.
TensorParallelSettings RankSettings(std::int32_t size);

// This program as another rank. `role`: see RunRole.
std::unique_ptr<ChildProcess> StartRank(const TensorParallelSettings& settings,
                                        std::int32_t rank,
                                        const std::string& role,
                                        const std::vector<std::string>& arguments = {});

// A model of two layers that chooses rows of a prompt of a few hundred tokens.
EngineConfig SmallConfig();

// The same on the accelerator, which scores every row. Ranks that share one connect by way of the
// host.
void UseDevice(EngineConfig& config);

std::vector<TokenId> SmallPrompt(std::int32_t length, std::int32_t seed = 7);

Request SmallRequest(std::vector<TokenId> prompt, std::int32_t output_tokens);

// REQUIRES: the engine takes the request.
std::shared_ptr<Recording> Ask(Engine& engine, Request request);

// Of a prompt's tokens and of an answer's, in the order of their coming.
std::vector<TokenInfo> Infos(const Recording::Events& events);

// The main function of a child: "--role ROLE SIZE RANK ADDRESS TIMEOUT_SECONDS ARGUMENT...". Roles:
// play, work (RunWorker of SmallConfig; arguments NAME=VALUE change it) and serve (rank 0: an
// engine that makes the file READY=PATH and waits to be killed).
int RunRole(const std::vector<std::string>& arguments);

}  // namespace keyhole::testing
