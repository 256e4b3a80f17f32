// Reads lib/native.ts's NativeModelSpec, every number checked.
#pragma once

#include <napi.h>

#include "model/spec.h"

namespace octavo {

ModelSpec read_model_spec(const Napi::Object& from);

}  // namespace octavo
