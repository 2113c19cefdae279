// Loaded before libc: counts the file operations below a folder and, at one of them, kills the process or fills the disk.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define LARGEST 4096

static char folder[LARGEST];
// By file descriptor: is below the folder, and is written to.
static char known[LARGEST], watched[LARGEST];
static long moment = -1, count = 0;
static int fills_disk = 0, is_full = 0;
static pid_t owner = 0;

// After the call, operation number `at` (from 1) below `below` is not completed; 0 only counts.
void faults_arm(const char* below, long at, int full) {
  strncpy(folder, below, LARGEST - 1);
  moment = at, count = 0, fills_disk = full, is_full = 0, owner = getpid();
  memset(known, 0, sizeof known), memset(watched, 0, sizeof watched);
}

long faults_count(void) { return count; }

static int is_below(const char* path) {
  return *folder && getpid() == owner && path && !strncmp(path, folder, strlen(folder));
}

// Whether this operation is the moment; a disk stays full after it.
static int is_moment(void) { return ++count == moment || (fills_disk && moment > 0 && count > moment); }

static void die(void) { kill(getpid(), SIGKILL); }

#define ORIGINAL(name) __typeof__(&name) original = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int opened(int file, const char* path, int flags) {
  if (file < 0 || file >= LARGEST) return file;
  known[file] = is_below(path);
  watched[file] = known[file] && flags & (O_WRONLY | O_RDWR);
  return file;
}

static void before(const char* path) {
  if (is_below(path) && is_moment() && !fills_disk) die();
}

static void before_change(int file) {
  if (file >= 0 && file < LARGEST && known[file] && getpid() == owner && is_moment() && !fills_disk) die();
}

#define OPEN(name)                                                                              \
  int name(const char* path, int flags, ...) {                                                  \
    va_list rest;                                                                               \
    va_start(rest, flags);                                                                      \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                     \
    va_end(rest);                                                                               \
    ORIGINAL(name);                                                                             \
    if (flags & (O_WRONLY | O_RDWR)) before(path);                                              \
    return opened(original(path, flags, mode), path, flags);                                    \
  }
OPEN(open)
OPEN(open64)

ssize_t write(int file, const void* bytes, size_t size) {
  ORIGINAL(write);
  if (file < 0 || file >= LARGEST || !watched[file] || getpid() != owner) return original(file, bytes, size);
  if (is_full) return errno = ENOSPC, -1;
  if (is_moment()) {
    // Half of it reaches the file.
    ssize_t written = size > 1 ? original(file, bytes, size / 2) : 0;
    if (!fills_disk) die();
    is_full = 1;
    return written > 0 ? written : (errno = ENOSPC, -1);
  }
  return original(file, bytes, size);
}

int fsync(int file) {
  ORIGINAL(fsync);
  before_change(file);
  return original(file);
}

#define TRUNCATE(name)              \
  int name(int file, off_t size) {  \
    ORIGINAL(name);                 \
    before_change(file);            \
    return original(file, size);    \
  }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

int mkdir(const char* path, mode_t mode) {
  ORIGINAL(mkdir);
  before(path);
  return original(path, mode);
}

int rename(const char* from, const char* to) {
  ORIGINAL(rename);
  before(to);
  return original(from, to);
}

int unlink(const char* path) {
  ORIGINAL(unlink);
  before(path);
  return original(path);
}

int close(int file) {
  ORIGINAL(close);
  if (file >= 0 && file < LARGEST) known[file] = watched[file] = 0;
  return original(file);
}
