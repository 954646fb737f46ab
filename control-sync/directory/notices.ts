/** Notices of the kernel that something happened in one of several folders. */
import fs from 'node:fs'
import { doNothing, guard } from '../../core/defects/guard.ts'

export class FolderNotices implements Disposable {
  readonly #notice: () => void
  readonly #watches = new Map<string, { readonly watch: fs.FSWatcher; readonly ino: number }>()

  constructor(notice: () => void) {
    this.#notice = notice
  }

  /** Folders that are watched. */
  get size(): number {
    return this.#watches.size
  }

  /** A folder that is not there, or more than the kernel watches, is left to whoever looks now and then. */
  add(folder: string): void {
    try {
      const { ino } = fs.statSync(folder)
      const known = this.#watches.get(folder)
      // Another folder has its name now: a symbolic link was swapped, or it was made anew.
      if (known?.ino === ino) return
      known?.watch.close()
      const watch = fs.watch(folder, { persistent: false })
      const forget = guard('configuration', doNothing, () => {
        watch.close()
        if (this.#watches.get(folder)?.watch === watch) this.#watches.delete(folder)
      })
      watch.on('change', guard('configuration', doNothing, this.#notice))
      watch.on('error', forget)
      watch.on('close', forget)
      this.#watches.set(folder, { watch, ino })
    } catch {
      /* as said above */
    }
  }

  /** All others are watched no more. */
  retain(folders: ReadonlySet<string>): void {
    for (const [folder, { watch }] of this.#watches) if (!folders.has(folder)) watch.close()
  }
  [Symbol.dispose](): void {
    for (const { watch } of this.#watches.values()) watch.close()
  }
}
