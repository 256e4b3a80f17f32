// The matchers that come with a step, as the executor sees them.
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "model/step.h"

namespace octavo {

// Each in the state that it has now, whatever becomes of the JS object. Throws ERR_INVALID_STEP
// for what is no list of matchers, or of another vocabulary.
std::vector<std::shared_ptr<const MaskSource>> read_mask_sources(const Napi::Value& list,
                                                                 int32_t vocab_size);

}  // namespace octavo
