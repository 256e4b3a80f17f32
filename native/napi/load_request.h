// Reads the argument of Executor.load(): the model, limits, files and tensors.
#pragma once

#include <napi.h>

#include "model/executor.h"

namespace octavo {

LoadRequest read_load_request(const Napi::Object& from);
TensorSpec read_tensor(const Napi::Object& from);

}  // namespace octavo
