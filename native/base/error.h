// What native code throws: a code of lib/errors.ts and a sentence for the user.
#pragma once

#include <stdexcept>
#include <string>

namespace octavo {

class Error : public std::runtime_error {
 public:
  Error(const char* code, const std::string& message) : std::runtime_error(message), code_(code) {}
  const char* code() const { return code_; }

 private:
  const char* code_;  // one of kErrorCodes
};

// Every code that native code may throw; lib/native.ts checks that lib/errors.ts knows them.
inline constexpr const char* kErrInvalidOption = "ERR_INVALID_OPTION";
inline constexpr const char* kErrInvalidStep = "ERR_INVALID_STEP";
inline constexpr const char* kErrModelFormat = "ERR_MODEL_FORMAT";
inline constexpr const char* kErrModelUnsupported = "ERR_MODEL_UNSUPPORTED";
inline constexpr const char* kErrModelNotFound = "ERR_MODEL_NOT_FOUND";
inline constexpr const char* kErrOutOfMemory = "ERR_OUT_OF_MEMORY";
inline constexpr const char* kErrDeviceNotFound = "ERR_DEVICE_NOT_FOUND";
inline constexpr const char* kErrDeviceLost = "ERR_DEVICE_LOST";
inline constexpr const char* kErrBusy = "ERR_BUSY";
inline constexpr const char* kErrClosed = "ERR_CLOSED";
inline constexpr const char* kErrGrammar = "ERR_GRAMMAR";
inline constexpr const char* kErrInternal = "ERR_INTERNAL";
inline constexpr const char* kErrorCodes[] = {
    kErrInvalidOption, kErrInvalidStep, kErrModelFormat,    kErrModelUnsupported,
    kErrModelNotFound, kErrOutOfMemory, kErrDeviceNotFound, kErrDeviceLost,
    kErrBusy,          kErrClosed,      kErrGrammar,        kErrInternal};

}  // namespace octavo
