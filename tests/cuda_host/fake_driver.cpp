// A stand-in for libcuda.so.1, for tests without a GPU: device memory is host memory, and a launch runs the kernels on
// the CPU (cuda_host.hpp). What the launcher hands over is checked as a real driver would, and more strictly.
//
// A module's image is machine code that no CPU runs. Its kernels are those of a host build of the same text with the
// same defines, and which defines is found by the specialisation hash that the image must contain. Environment:
//   DSCT_FAKE_MANIFEST      file with a line "<hash> <defines>" per specialisation that may occur
//   DSCT_FAKE_BUILD         command that makes a host library when "<defines> -o <file>" is appended
//   DSCT_FAKE_KERNELS       directory of host libraries, <hash>.so, built when first needed
//   DSCT_FAKE_CAPABILITIES  compute capability of each device, as in 90,80
//   DSCT_FAKE_MULTIPROCESSORS   default 0: every call fills the GPU
//   DSCT_FAKE_FAIL          function=code: that function fails
#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

enum Result {
  kSuccess = 0,
  kInvalidValue = 1,
  kNotInitialised = 3,
  kInvalidDevice = 101,
  kInvalidImage = 200,
  kInvalidContext = 201,
  kNotFound = 500,
  kMisaligned = 716,
  kLaunchFailed = 719,
  kCaptureUnsupported = 900,
};

struct HostModule {
  void* library;
  int device;
};

struct HostFunction {
  HostModule* module;
  void* kernel;
  int allowed_shared_bytes = 48 << 10;
};

bool initialised = false;
thread_local std::vector<int> contexts;  // devices whose context this thread has pushed
thread_local int capture_mode = 0;       // global
long loads = 0, launches = 0, retained = 0;
bool last_image_was_text = false;
void* last_stream = nullptr;
std::string launch_error = "unspecified launch failure";

std::string setting(const char* name, const char* otherwise = "") {
  const char* value = std::getenv(name);
  return value ? value : otherwise;
}

std::vector<int> capabilities() {
  std::vector<int> all;
  std::stringstream text(setting("DSCT_FAKE_CAPABILITIES", "90"));
  for (std::string one; std::getline(text, one, ',');) all.push_back(std::stoi(one));
  return all;
}

int injected(const char* function) {
  const std::string failure = setting("DSCT_FAKE_FAIL"), name = std::string(function) + "=";
  return failure.rfind(name, 0) == 0 ? std::stoi(failure.substr(name.size())) : 0;
}

// The tensors of a call come first in the kernels' parameters; they are read and written 16 bytes at a time.
bool aligned(const void* parameters) {
  uintptr_t tensors[10];
  std::memcpy(tensors, parameters, sizeof tensors);
  return std::all_of(tensors, tensors + 10, [](uintptr_t tensor) { return tensor % 16 == 0; });
}

// Contexts are numbered from 1, so that none is null.
int device_of(void* context) { return static_cast<int>(reinterpret_cast<intptr_t>(context)) - 1; }

// Of the whole ELF file: its tables of sections and segments lie behind everything else.
size_t elf_bytes(const unsigned char* image) {
  const auto at = [&](size_t offset, size_t bytes) {
    uint64_t value = 0;
    std::memcpy(&value, image + offset, bytes);
    return value;
  };
  return std::max(at(0x28, 8) + at(0x3a, 2) * at(0x3c, 2), at(0x20, 8) + at(0x36, 2) * at(0x38, 2));
}

bool contains(const void* image, uint32_t hash) {
  const auto* bytes = static_cast<const unsigned char*>(image);
  if (std::memcmp(bytes, "\x7f" "ELF", 4) == 0) return memmem(bytes, elf_bytes(bytes), &hash, sizeof hash) != nullptr;
  const std::string text(static_cast<const char*>(image));  // PTX writes constants as signed numbers
  if (text.find(".target sm_") == std::string::npos) return false;
  return text.find(" " + std::to_string(static_cast<int32_t>(hash)) + ";") != std::string::npos;
}

// The host library whose defines the image was made with; null if there is none.
void* host_library(const void* image) {
  std::ifstream manifest(setting("DSCT_FAKE_MANIFEST"));
  for (std::string line; std::getline(manifest, line);) {
    const auto space = line.find(' ');
    const std::string hash = line.substr(0, space);
    if (!contains(image, static_cast<uint32_t>(std::stoul(hash)))) continue;
    const std::string file = setting("DSCT_FAKE_KERNELS") + "/" + hash + ".so";
    const std::string build = setting("DSCT_FAKE_BUILD") + line.substr(space) + " -o " + file;
    if (!std::ifstream(file) && std::system(build.c_str()) != 0) return nullptr;
    return dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  }
  return nullptr;
}

}  // namespace

#define FAIL_IF_INJECTED \
  if (const int code = injected(__func__)) return code

extern "C" {

// ---------------------------------------------------------------- what the tests ask

long fake_loads() { return loads; }
long fake_launches() { return launches; }
long fake_retained() { return retained; }
long fake_context_depth() { return static_cast<long>(contexts.size()); }
long fake_capture_mode() { return capture_mode; }
long fake_last_image_was_text() { return last_image_was_text; }
void* fake_last_stream() { return last_stream; }

// ---------------------------------------------------------------- what the launcher calls

int cuInit(unsigned) {
  FAIL_IF_INJECTED;
  initialised = true;
  return kSuccess;
}

int cuDriverGetVersion(int* version) {
  *version = 13000;
  return kSuccess;
}

int cuDeviceGet(int* device, int ordinal) {
  if (!initialised) return kNotInitialised;
  if (ordinal < 0 || ordinal >= static_cast<int>(capabilities().size())) return kInvalidDevice;
  *device = ordinal;
  return kSuccess;
}

int cuDeviceGetAttribute(int* value, int attribute, int device) {
  const int capability = capabilities().at(device);
  switch (attribute) {
    case 16: *value = std::stoi(setting("DSCT_FAKE_MULTIPROCESSORS", "0")); return kSuccess;
    case 75: *value = capability / 10; return kSuccess;
    case 76: *value = capability % 10; return kSuccess;
    case 97: *value = 227 << 10; return kSuccess;
    default: return kInvalidValue;
  }
}

int cuDevicePrimaryCtxRetain(void** context, int device) {
  FAIL_IF_INJECTED;
  retained++;
  *context = reinterpret_cast<void*>(static_cast<intptr_t>(device + 1));
  return kSuccess;
}

int cuCtxPushCurrent_v2(void* context) {
  FAIL_IF_INJECTED;
  if (!context) return kInvalidContext;
  contexts.push_back(device_of(context));
  return kSuccess;
}

int cuCtxPopCurrent_v2(void** context) {
  if (contexts.empty()) return kInvalidContext;
  *context = reinterpret_cast<void*>(static_cast<intptr_t>(contexts.back() + 1));
  contexts.pop_back();
  return kSuccess;
}

int cuThreadExchangeStreamCaptureMode(int* mode) {
  std::swap(*mode, capture_mode);
  return kSuccess;
}

int cuModuleLoadData(void** module, const void* image) {
  FAIL_IF_INJECTED;
  if (contexts.empty()) return kInvalidContext;
  if (capture_mode != 2) return kCaptureUnsupported;  // as if a capture were under way
  void* library = host_library(image);
  if (!library) return kInvalidImage;
  loads++;
  last_image_was_text = std::memcmp(image, "\x7f" "ELF", 4) != 0;
  *module = new HostModule{library, contexts.back()};
  return kSuccess;
}

int cuModuleGetFunction(void** function, void* module, const char* name) {
  FAIL_IF_INJECTED;
  if (contexts.empty()) return kInvalidContext;
  if (capture_mode != 2) return kCaptureUnsupported;
  auto* from = static_cast<HostModule*>(module);
  void* kernel = dlsym(from->library, name);
  if (!kernel) return kNotFound;
  *function = new HostFunction{from, kernel};
  return kSuccess;
}

int cuFuncSetAttribute(void* function, int attribute, int value) {
  if (attribute != 8 || value < 0 || value > 227 << 10) return kInvalidValue;
  static_cast<HostFunction*>(function)->allowed_shared_bytes = value;
  return kSuccess;
}

int cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared_bytes, void* stream, void** parameters, void**) {
  FAIL_IF_INJECTED;
  auto* kernel = static_cast<HostFunction*>(function);
  if (contexts.empty() || contexts.back() != kernel->module->device) return kInvalidContext;
  if (static_cast<int>(shared_bytes) > kernel->allowed_shared_bytes) return kInvalidValue;
  if (!grid_x || !grid_y || !grid_z || !block_x || block_y != 1 || block_z != 1) return kInvalidValue;
  if (!aligned(parameters[0])) return kMisaligned;
  using Launch = int (*)(void*, const void*, const unsigned[3], unsigned, size_t, int);
  using Text = const char* (*)();
  const auto launch = reinterpret_cast<Launch>(dlsym(kernel->module->library, "cuda_host_launch"));
  const auto error = reinterpret_cast<Text>(dlsym(kernel->module->library, "cuda_host_error"));
  const unsigned grid[3] = {grid_x, grid_y, grid_z};
  launches++;
  last_stream = stream;
  if (launch(kernel->kernel, parameters[0], grid, block_x, shared_bytes, -1) == 0) return kSuccess;
  launch_error = error();
  return kLaunchFailed;
}

int cuGetErrorName(int code, const char** name) {
  static const std::map<int, const char*> names = {
      {kInvalidValue, "CUDA_ERROR_INVALID_VALUE"},
      {2, "CUDA_ERROR_OUT_OF_MEMORY"},
      {kNotInitialised, "CUDA_ERROR_NOT_INITIALIZED"},
      {100, "CUDA_ERROR_NO_DEVICE"},
      {kInvalidDevice, "CUDA_ERROR_INVALID_DEVICE"},
      {kInvalidImage, "CUDA_ERROR_INVALID_IMAGE"},
      {kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT"},
      {kNotFound, "CUDA_ERROR_NOT_FOUND"},
      {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"},
      {kMisaligned, "CUDA_ERROR_MISALIGNED_ADDRESS"},
      {kLaunchFailed, "CUDA_ERROR_LAUNCH_FAILED"},
      {kCaptureUnsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
  };
  const auto found = names.find(code);
  if (found == names.end()) return kInvalidValue;
  *name = found->second;
  return kSuccess;
}

int cuGetErrorString(int code, const char** text) {
  *text = code == kLaunchFailed ? launch_error.c_str() : "words of the driver";
  return kSuccess;
}
}
