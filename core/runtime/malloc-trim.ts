/**
 * glibc gives memory back to the system from the end of its heap only: below one piece that lives, what a burst has
 * freed stays, 50 MiB beside 40 in use. `malloc_trim` gives back every free page (malloc_trim(3)).
 */
import { findLibcFunction } from './libc.ts'

let trim: (() => void) | undefined

/** Of all threads, from any with FFI. Some milliseconds; nothing where there is no FFI or no glibc. */
export function trimMalloc(): void {
  trim ??= findTrim()
  trim()
}

function findTrim(): () => void {
  const call = findLibcFunction('malloc_trim', ['uint64'])
  return () => {
    call?.(0n)
  }
}
