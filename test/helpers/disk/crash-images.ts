/**
 * What a kill would leave of a folder, between any two system calls of a process that really runs: a library in front
 * of the system's own notes the whole folder before each call that changes a file in it. A killed process leaves what
 * it has written, so such a picture is what a kill leaves. Needs a C compiler.
 */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'

const SOURCE = String.raw`
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread int inside;
static int count;
static void copy(const char *from, const char *to) {
  char buffer[65536]; ssize_t n;
  int in = syscall(SYS_openat, AT_FDCWD, from, O_RDONLY, 0), out = syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT, 0600);
  while ((n = syscall(SYS_read, in, buffer, sizeof buffer)) > 0) if (syscall(SYS_write, out, buffer, n) != n) abort();
  syscall(SYS_close, in); syscall(SYS_close, out);
}
static void picture(const char *call) {
  char from[4096], to[4096]; struct dirent *e; DIR *d;
  snprintf(to, sizeof to, "%s/%04d-%s", getenv("CRASH_IMAGES"), count++, call); mkdir(to, 0700);
  if (!(d = opendir(getenv("CRASH_FOLDER")))) return;
  while ((e = readdir(d))) if (e->d_type == DT_REG) {
    snprintf(from, sizeof from, "%s/%s", getenv("CRASH_FOLDER"), e->d_name);
    snprintf(to, sizeof to, "%s/%04d-%s/%s", getenv("CRASH_IMAGES"), count - 1, call, e->d_name);
    copy(from, to);
  }
  closedir(d);
}
static void before(const char *call, const char *name, int fd) {
  char link[64], found[4096]; const char *folder = getenv("CRASH_FOLDER"); ssize_t n;
  if (inside || !folder) return;
  if (!name) {
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if ((n = readlink(link, found, sizeof found - 1)) < 0) return;
    found[n] = 0; name = found;
  }
  if (strncmp(name, folder, strlen(folder))) return;
  inside = 1; pthread_mutex_lock(&lock); picture(call); pthread_mutex_unlock(&lock); inside = 0;
}
#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
ssize_t write(int fd, const void *b, size_t n) { REAL(write); before("write", 0, fd); return real(fd, b, n); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { REAL(pwrite); before("write", 0, fd); return real(fd, b, n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { REAL(pwrite64); before("write", 0, fd); return real(fd, b, n, o); }
int ftruncate(int fd, off_t n) { REAL(ftruncate); before("truncate", 0, fd); return real(fd, n); }
int ftruncate64(int fd, off64_t n) { REAL(ftruncate64); before("truncate", 0, fd); return real(fd, n); }
int rename(const char *a, const char *b) { REAL(rename); before("rename", a, 0); return real(a, b); }
int unlink(const char *a) { REAL(unlink); before("unlink", a, 0); return real(a); }
int unlinkat(int at, const char *a, int f) { REAL(unlinkat); before("unlink", a, 0); return real(at, a, f); }
int remove(const char *a) { REAL(remove); before("unlink", a, 0); return real(a); }
#define OPEN(name) int name(const char *a, int f, ...) { va_list v; va_start(v, f); mode_t m = va_arg(v, mode_t); va_end(v); REAL(name); if (f & (O_CREAT | O_TRUNC)) before("open", a, 0); return real(a, f, m); }
OPEN(open)
OPEN(open64)
`

export const hasCompiler = spawnSync('cc', ['--version']).status === 0

/** @param folder where the library and the pictures go */
export class CrashImages {
  readonly #library: string
  readonly #images: string
  constructor(folder: string) {
    this.#library = path.join(folder, 'crash.so')
    this.#images = path.join(folder, 'images')
    const { status, stderr } = spawnSync(
      'cc',
      ['-shared', '-fPIC', '-O1', '-w', '-o', this.#library, '-xc', '-', '-ldl', '-lpthread'],
      { input: SOURCE, encoding: 'utf8' },
    )
    if (status !== 0) throw new Error(stderr)
  }

  /**
   * Runs the script to its end.
   * @returns a folder per picture, in order, named after the call that comes next; the last is what the end leaves
   */
  of(script: string, folder: string, args: readonly string[]): readonly string[] {
    fs.rmSync(this.#images, { recursive: true, force: true })
    fs.mkdirSync(this.#images)
    const { status, stderr } = spawnSync(process.execPath, [script, folder, ...args], {
      encoding: 'utf8',
      env: { ...process.env, LD_PRELOAD: this.#library, CRASH_FOLDER: folder, CRASH_IMAGES: this.#images },
    })
    if (status !== 0) throw new Error(`${script} ended with ${status}: ${stderr}`)
    fs.cpSync(folder, path.join(this.#images, '9999-end'), { recursive: true })
    return fs
      .readdirSync(this.#images)
      .sort()
      .map((name) => path.join(this.#images, name))
  }
}
