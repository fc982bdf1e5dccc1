/* A file system without locks, by LD_PRELOAD: flock and POSIX locks fail with error number NOLOCK_ERRNO. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>

static int fail(void) {
  errno = atoi(getenv("NOLOCK_ERRNO"));
  return -1;
}

int flock(int descriptor, int operation) { return fail(); }

int fcntl64(int descriptor, int command, ...) {
  static int (*real)(int, int, ...);
  va_list arguments;
  va_start(arguments, command);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  if (!real && !(real = dlsym(RTLD_NEXT, "fcntl64"))) real = dlsym(RTLD_NEXT, "fcntl");
  return command == F_SETLK || command == F_SETLKW ? fail() : real(descriptor, command, argument);
}

int fcntl(int descriptor, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  return fcntl64(descriptor, command, argument);
}
