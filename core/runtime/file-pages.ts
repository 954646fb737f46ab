/**
 * A start runs through 55 MiB of Node's program file and its libraries, of which an agent at rest needs a third. Such
 * pages are in nobody's way, and the system takes them when memory is short; but until then they count as this
 * process's. Given back, they stay in the system's cache, and those that run again come back by a fault of some
 * microseconds, sixteen at a time.
 */
import fs from 'node:fs'
import { findLibcFunction } from './libc.ts'

/** From <sys/mman.h>. */
const MADV_DONTNEED = 4

export type Region = { readonly from: bigint; readonly bytes: bigint }

/**
 * Where files lie in memory, read-only and with no page of the process's own: such a page, which the loader has written
 * to, would be lost.
 * @param smaps of proc_pid_smaps(5)
 */
export function findFileRegions(smaps: string): Region[] {
  const regions: Region[] = []
  for (const [, from, to, fields] of smaps.matchAll(READ_ONLY)) {
    const own = /^Anonymous: +(\d+) kB$/m.exec(fields!)?.[1]
    const dirty = /^Private_Dirty: +(\d+) kB$/m.exec(fields!)?.[1]
    if (own !== '0' || dirty !== '0') continue
    regions.push({ from: BigInt(`0x${from}`), bytes: BigInt(`0x${to}`) - BigInt(`0x${from}`) })
  }
  return regions
}
/** `400000-82e000 r--p 00000000 fe:00 71 /usr/bin/node`, then a line `Name: value` for each figure. */
const READ_ONLY = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p [0-9a-f]+ \S+ \d+ +\/.*\n((?:[A-Z]\w+:.*\n?)*)/gm

/** Some milliseconds, in which other threads wait for pages; nothing where there is no FFI or no glibc. */
export function releaseFilePages(): void {
  const madvise = findLibcFunction('madvise', ['uint64', 'uint64', 'int32'])
  if (!madvise) return
  try {
    const smaps = fs.readFileSync('/proc/self/smaps', 'latin1')
    for (const { from, bytes } of findFileRegions(smaps)) madvise(from, bytes, MADV_DONTNEED)
  } catch {
    /* there is no /proc: they stay */
  }
}
