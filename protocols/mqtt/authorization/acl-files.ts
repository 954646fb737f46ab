/**
 * The acl files that listeners name. Read before the ports open, and again when they change: a new one that cannot be
 * used leaves the last good one in force and is told. Without any its listener lets nobody in.
 */
import { createHash } from 'node:crypto'
import type { Clock, Timer } from '../../../core/os/clock.ts'
import type { Disk } from '../../../core/os/disk.ts'
import { detach } from '../../../core/defects/guard.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import { TimeSlice } from '../../../core/os/time-slice.ts'
import type { Acl } from './acl.ts'
import { parseAclFile } from './acl-file.ts'

const POLL_MS = 5_000
/** Half of a file may lack the lines that deny: it has to look the same twice. */
const SETTLE_MS = 250

export type AclFilesOptions = {
  readonly disk: Pick<Disk, 'read'>
  readonly clock: Clock
  readonly log: Log
  /** One of them says something else than before. Not called for what `use` reads. */
  readonly onChange: () => void
}

export class AclFiles implements Disposable {
  readonly #o: AclFilesOptions
  readonly #files = new Map<string, AclFile>()
  #timer: Timer | undefined
  #isClosed = false

  constructor(options: AclFilesOptions) {
    this.#o = options
  }

  /** From now on these. Resolves once those that are new have been read. */
  async use(files: Iterable<string>): Promise<void> {
    const wanted = new Set(files)
    for (const name of this.#files.keys()) if (!wanted.has(name)) this.#files.delete(name)
    const added: AclFile[] = []
    for (const name of wanted) {
      if (this.#files.has(name)) continue
      const file = new AclFile(name, this.#o)
      this.#files.set(name, file)
      added.push(file)
    }
    for (const file of added) await file.look('first')
    this.#wait(POLL_MS)
  }
  /** Undefined: it was never readable. */
  of(file: string): Acl | undefined {
    return this.#files.get(file)?.acl
  }
  problems(): readonly MeshError[] {
    return [...this.#files.values()].flatMap(({ problem }) => problem ?? [])
  }
  [Symbol.dispose](): void {
    this.#isClosed = true
    this.#timer?.cancel()
  }

  #wait(ms: number): void {
    this.#timer?.cancel()
    if (this.#isClosed || this.#files.size === 0) return
    this.#timer = this.#o.clock.after(ms, () => {
      detach('mqtt', this.#look())
    })
  }
  async #look(): Promise<void> {
    let isSettling = false
    let hasChanged = false
    for (const file of this.#files.values()) {
      const found = await file.look('again')
      isSettling ||= found === 'settling'
      hasChanged ||= found === 'changed'
    }
    if (hasChanged && !this.#isClosed) this.#o.onChange()
    this.#wait(isSettling ? SETTLE_MS : POLL_MS)
  }
}

class AclFile {
  readonly #name: string
  readonly #o: AclFilesOptions
  acl: Acl | undefined
  problem: MeshError | undefined
  /** Of the content that `acl` or `problem` comes from. */
  #decided: string | undefined
  /** Of one that was met once. */
  #met: string | undefined

  constructor(name: string, options: AclFilesOptions) {
    this.#name = name
    this.#o = options
  }

  async look(when: 'first' | 'again'): Promise<'same' | 'settling' | 'changed'> {
    let content: Buffer | undefined
    try {
      content = this.#o.disk.read(this.#name)
    } catch (cause) {
      return this.#refuse(
        new MeshError('MESH_MQTT_ACL_FILE', `${this.#name} cannot be read: ${toMeshError(cause).message}`, { cause }),
      )
    }
    if (!content) return this.#refuse(new MeshError('MESH_MQTT_ACL_FILE', `there is no file ${this.#name}`))
    const hash = createHash('sha256').update(content).digest('base64')
    if (hash === this.#decided) return 'same'
    if (when === 'again' && hash !== this.#met) {
      this.#met = hash
      return 'settling'
    }
    try {
      this.acl = await parseAclFile(this.#name, content, new TimeSlice(this.#o.clock))
    } catch (thrown) {
      this.#refuse(toMeshError(thrown))
      this.#decided = hash
      return 'same'
    }
    this.problem = undefined
    this.#decided = hash
    this.#o.log.info({ evt: 'mqtt.acl.read', file: this.#name }, 'the acl file is in force')
    return 'changed'
  }

  #refuse(err: MeshError): 'same' {
    // It may come back as it was.
    this.#decided = undefined
    if (this.problem?.message !== err.message)
      this.#o.log.warn(
        { evt: 'mqtt.acl.refused', err },
        this.acl
          ? 'the acl file cannot be used; the last good one stays in force'
          : 'there is no acl file: nobody connects',
      )
    this.problem = err
    return 'same'
  }
}
