/** A control group with a memory limit, as the unit's MemoryMax makes one. Version 2 where the machine has it, else version 1. Needs root. */
import fs from 'node:fs'
import path from 'node:path'

const ROOT = '/sys/fs/cgroup'

/** Puts processes under one limit; disposing removes the group once they are gone. */
export class MemoryCage implements Disposable {
  readonly #folder: string
  readonly #procs: string
  constructor(name: string, maxBytes: number) {
    const own = fs.readFileSync('/proc/self/cgroup', 'utf8')
    const v1 = /^\d+:memory:(.*)$/m.exec(own)?.[1]
    if (v1 === undefined) {
      // In version 2 a group that has processes gives its children no controllers: the child is made at the root.
      fs.writeFileSync(`${ROOT}/cgroup.subtree_control`, '+memory')
      this.#folder = path.join(ROOT, name)
      fs.mkdirSync(this.#folder)
      fs.writeFileSync(path.join(this.#folder, 'memory.max'), String(maxBytes))
      fs.writeFileSync(path.join(this.#folder, 'memory.swap.max'), '0')
    } else {
      this.#folder = path.join(ROOT, 'memory', v1, name)
      fs.mkdirSync(this.#folder)
      fs.writeFileSync(path.join(this.#folder, 'memory.limit_in_bytes'), String(maxBytes))
    }
    this.#procs = path.join(this.#folder, 'cgroup.procs')
  }
  /** A shell's words before the program's: it enters the group and becomes the program. */
  get launcher(): readonly string[] { return ['/bin/sh', '-c', `echo $$ > ${this.#procs} && exec "$@"`, 'sh'] }
  [Symbol.dispose](): void { fs.rmdirSync(this.#folder) }
}
