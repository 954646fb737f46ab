/**
 * A library in front of the system's own, for a process that really runs. It writes down every change of a file in a
 * folder and every sync, in their order, so that a power cut can be played at each of them; and it makes the disk fail
 * as a control file says: `enospc`, `erofs`, or `slow <ms>` for each sync. With FAULT_SYNC_MS alone each sync takes so
 * long, and all other calls what they take without the library. Needs a C compiler.
 */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'

const SOURCE = String.raw`
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *nameIn(int fd, char *found) {
  char link[64]; const char *folder = getenv("FAULT_FOLDER"); ssize_t n;
  if (!folder) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if ((n = readlink(link, found, 4095)) < 0) return 0;
  found[n] = 0;
  return strncmp(found, folder, strlen(folder)) ? 0 : found;
}
static const char *nameOf(int fd, char *found) {
  return getenv("FAULT_CONTROL") || getenv("FAULT_RECORD") ? nameIn(fd, found) : 0;
}
static void put(int fd, const void *b, size_t n) { while (n) { ssize_t w = syscall(SYS_write, fd, b, n); if (w < 0) abort(); b = (char *)b + w; n -= w; } }
static void note(char op, const char *name, uint64_t at, const void *b, uint64_t n) {
  const char *record = getenv("FAULT_RECORD"); uint32_t length; char head[21]; int fd;
  if (!record) return;
  length = strlen(name);
  head[0] = op; memcpy(head + 1, &length, 4); memcpy(head + 5, &at, 8); memcpy(head + 13, &n, 8);
  pthread_mutex_lock(&lock);
  fd = syscall(SYS_openat, AT_FDCWD, record, O_WRONLY | O_CREAT | O_APPEND, 0600);
  put(fd, head, sizeof head); put(fd, name, length); if (op == 'W') put(fd, b, n);
  syscall(SYS_close, fd);
  pthread_mutex_unlock(&lock);
}
static int fault(void) {
  char text[32] = {0}; const char *control = getenv("FAULT_CONTROL"); int fd;
  if (!control || (fd = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY, 0)) < 0) return 0;
  syscall(SYS_read, fd, text, sizeof text - 1); syscall(SYS_close, fd);
  if (!strncmp(text, "enospc", 6)) return ENOSPC;
  if (!strncmp(text, "erofs", 5)) return EROFS;
  if (!strncmp(text, "slow ", 5)) return -atoi(text + 5);
  return 0;
}
#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define FAIL int f = fault(); if (f > 0) { errno = f; return -1; }
#define PWRITE(name, off) ssize_t name(int fd, const void *b, size_t n, off o) { char p[4096]; REAL(name); const char *w = nameOf(fd, p); if (w) { FAIL note('W', w, o, b, n); } return real(fd, b, n, o); }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
ssize_t write(int fd, const void *b, size_t n) { char p[4096]; REAL(write); const char *w = nameOf(fd, p); if (w) { FAIL note('W', w, (uint64_t)-1, b, n); } return real(fd, b, n); }
#define TRUNCATE(name, off) int name(int fd, off n) { char p[4096]; REAL(name); const char *w = nameOf(fd, p); if (w) { FAIL note('T', w, n, 0, 0); } return real(fd, n); }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)
#define SYNC(name) int name(int fd) { char p[4096]; REAL(name); const char *w = nameIn(fd, p), *ms = getenv("FAULT_SYNC_MS"); int r; if (w) { FAIL if (f < 0 || ms) usleep((ms ? atoi(ms) : -f) * 1000); } r = real(fd); if (w && !r) note('S', w, 0, 0, 0); return r; }
SYNC(fsync)
SYNC(fdatasync)
#define UNLINK(name) int name(const char *a) { REAL(name); const char *folder = getenv("FAULT_FOLDER"); if (folder && !strncmp(a, folder, strlen(folder))) { FAIL note('U', a, 0, 0, 0); } return real(a); }
UNLINK(unlink)
UNLINK(remove)
#define OPEN(name) int name(const char *a, int flags, ...) { va_list v; va_start(v, flags); mode_t m = va_arg(v, mode_t); va_end(v); REAL(name); const char *folder = getenv("FAULT_FOLDER"); if (folder && !strncmp(a, folder, strlen(folder))) { if (flags & (O_WRONLY | O_RDWR | O_CREAT)) { int f = fault(); if (f == EROFS) { errno = f; return -1; } } if (flags & O_TRUNC) note('T', a, 0, 0, 0); } return real(a, flags, m); }
OPEN(open)
OPEN(open64)
`

export const hasCompiler = spawnSync('cc', ['--version']).status === 0

/** @returns the library's path */
export function buildLibrary(folder: string): string {
  const library = path.join(folder, 'faults.so')
  const { status, stderr } = spawnSync(
    'cc',
    ['-shared', '-fPIC', '-O1', '-w', '-o', library, '-xc', '-', '-ldl', '-lpthread'],
    { input: SOURCE, encoding: 'utf8' },
  )
  if (status !== 0) throw new Error(stderr)
  return library
}

/** `at` undefined: at the end of what was written before. */
export type Change =
  | { readonly op: 'write'; readonly name: string; readonly at: number | undefined; readonly bytes: Buffer }
  | { readonly op: 'truncate'; readonly name: string; readonly to: number }
  | { readonly op: 'sync'; readonly name: string }
  | { readonly op: 'unlink'; readonly name: string }

const HEAD_BYTES = 21
export function readRecord(file: string): readonly Change[] {
  const record = fs.readFileSync(file)
  const changes: Change[] = []
  for (let at = 0; at < record.length;) {
    const op = String.fromCharCode(record[at]!)
    const nameBytes = record.readUInt32LE(at + 1)
    const offset = record.readBigUInt64LE(at + 5)
    const length = Number(record.readBigUInt64LE(at + 13))
    const nameAt = at + HEAD_BYTES
    const name = path.basename(record.toString('utf8', nameAt, nameAt + nameBytes))
    at = nameAt + nameBytes
    if (op === 'W') {
      const isAppend = offset > BigInt(Number.MAX_SAFE_INTEGER)
      const bytes = record.subarray(at, (at += length))
      changes.push({ op: 'write', name, at: isAppend ? undefined : Number(offset), bytes })
    } else if (op === 'T') changes.push({ op: 'truncate', name, to: Number(offset) })
    else changes.push({ op: op === 'S' ? 'sync' : 'unlink', name })
  }
  return changes
}
