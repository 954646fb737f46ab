/** The ACL files that listeners name. A listener whose file was never readable refuses every client. */
import type { Prepared } from '../../../core/current.ts'
import type { MeshError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import type { Clock } from '../../../core/os/clock.ts'
import type { Disk } from '../../../core/os/disk.ts'
import { WatchedFile } from '../../../core/os/files/watched-file.ts'
import type { Acl } from './acl.ts'
import { MAX_ACL_FILE_BYTES, parseAclFile } from './acl-file.ts'

export type AclFilesOptions = {
  readonly disk: Pick<Disk, 'read' | 'stat'>
  readonly clock: Clock
  readonly log: Log
  /** One of them says something else than before. Not called for what `use` reads. */
  readonly onChange: () => void
}

export class AclFiles implements Disposable {
  readonly #o: AclFilesOptions
  readonly #files = new Map<string, WatchedFile<Acl>>()

  constructor(options: AclFilesOptions) {
    this.#o = options
  }

  /** From now on these. Resolves once those that are new have been read. */
  async use(files: Iterable<string>): Promise<void> {
    const { commit } = await this.#open(files)
    commit()
  }
  /** @throws MESH_MQTT_ACL_FILE for one that is new and cannot be used */
  async prepare(files: Iterable<string>): Promise<Prepared> {
    const { opened, commit } = await this.#open(files)
    using unused = new DisposableStack()
    for (const file of opened.values()) unused.use(file)
    for (const file of opened.values()) file.refuseUnusable()
    const open = unused.move()
    return {
      commit() {
        open.move()
        commit()
      },
      [Symbol.dispose]: () => open.dispose(),
    }
  }
  async #open(
    files: Iterable<string>,
  ): Promise<{ readonly opened: ReadonlyMap<string, WatchedFile<Acl>>; readonly commit: () => void }> {
    const wanted = new Set(files)
    const opened = new Map<string, WatchedFile<Acl>>()
    for (const name of wanted) if (!this.#files.has(name)) opened.set(name, watchAcl(name, this.#o))
    await Promise.all([...opened.values()].map(({ ready }) => ready))
    return {
      opened,
      commit: () => {
        for (const [name, file] of this.#files)
          if (!wanted.has(name)) {
            file[Symbol.dispose]()
            this.#files.delete(name)
          }
        for (const [name, file] of opened) this.#files.set(name, file)
      },
    }
  }
  /** Undefined: it was never readable. */
  find(file: string): Acl | undefined {
    return this.#files.get(file)?.current
  }
  problems(): readonly MeshError[] {
    return [...this.#files.values()].flatMap((file) => file.problems())
  }
  [Symbol.dispose](): void {
    for (const file of this.#files.values()) file[Symbol.dispose]()
  }
}

function watchAcl(file: string, o: AclFilesOptions): WatchedFile<Acl> {
  return new WatchedFile({
    ...o,
    file,
    setting: 'mqtt.aclFile',
    maxBytes: MAX_ACL_FILE_BYTES,
    parse: parseAclFile,
    isSecret: false,
    without: 'nobody connects',
    code: 'MESH_MQTT_ACL_FILE',
    evt: 'mqtt.acl',
    part: 'mqtt',
  })
}
