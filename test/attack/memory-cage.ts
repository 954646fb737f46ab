/**
 * A control group with a memory limit, as the unit's MemoryMax makes one. Version 2 where the machine has it, else
 * version 1. Needs root.
 */
import fs from 'node:fs'
import path from 'node:path'

const ROOT = '/sys/fs/cgroup'

/**
 * Puts processes under one limit; disposing removes the group once they are gone. Where no group can be made, it says
 * so and limits nothing.
 */
export class MemoryCage implements Disposable {
  readonly #folder: string | undefined
  constructor(name: string, maxBytes: number) {
    try {
      this.#folder = made(name, maxBytes)
    } catch (err) {
      console.error(
        `no control group with a memory limit can be made here (${(err as Error).message}): memory is looked at, and not limited`,
      )
    }
  }
  /** A shell's words before the program's: it enters the group and becomes the program. */
  get launcher(): readonly string[] {
    return [
      '/bin/sh',
      '-c',
      this.#folder === undefined ? 'exec "$@"' : `echo $$ > ${this.#folder}/cgroup.procs && exec "$@"`,
      'sh',
    ]
  }
  [Symbol.dispose](): void {
    if (this.#folder !== undefined) fs.rmdirSync(this.#folder)
  }
}

/** @returns its folder */
function made(name: string, maxBytes: number): string {
  const own = fs.readFileSync('/proc/self/cgroup', 'utf8')
  const v1 = /^\d+:memory:(.*)$/m.exec(own)?.[1]
  // In version 2 a group that has processes gives its children no controllers: the child is made at the root.
  const folder = v1 === undefined ? path.join(ROOT, name) : path.join(ROOT, 'memory', v1, name)
  if (v1 === undefined) fs.writeFileSync(`${ROOT}/cgroup.subtree_control`, '+memory')
  fs.mkdirSync(folder)
  if (v1 !== undefined) fs.writeFileSync(path.join(folder, 'memory.limit_in_bytes'), String(maxBytes))
  else {
    fs.writeFileSync(path.join(folder, 'memory.max'), String(maxBytes))
    fs.writeFileSync(path.join(folder, 'memory.swap.max'), '0')
  }
  return folder
}
