/**
 * glibc gives memory back to the system from the end of its heap only: below one piece that lives, what a burst has
 * freed stays, 50 MiB beside 40 in use. `malloc_trim` gives back every free page (malloc_trim(3)). Node does not call
 * it; a thread that was started with FFI_ARGV can.
 */

/** For a Worker's `execArgv`, which give FFI to that thread alone. */
export const FFI_ARGV: readonly string[] = ['--experimental-ffi', '--disable-warning=ExperimentalWarning']

type Ffi = {
  dlopen(
    file: string,
    functions: { readonly malloc_trim: { readonly return: 'int32'; readonly arguments: readonly ['uint64'] } },
  ): { readonly functions: { readonly malloc_trim: (keptBytes: bigint) => number } }
}
let trim: (() => void) | undefined

/** Of all threads, from any. Some milliseconds; nothing where there is no FFI or no glibc. */
export function trimMalloc(): void {
  trim ??= findTrim()
  trim()
}

function findTrim(): () => void {
  try {
    // Node's types know no experimental modules.
    const ffi = process.getBuiltinModule('node:ffi') as unknown as Ffi
    const { malloc_trim: call } = ffi.dlopen('libc.so.6', {
      malloc_trim: { return: 'int32', arguments: ['uint64'] },
    }).functions
    return () => {
      call(0n)
    }
  } catch {
    return () => {}
  }
}
