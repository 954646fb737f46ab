/** Users on a disk of plain values. */
import assert from 'node:assert/strict'
import { pbkdf2Sync } from 'node:crypto'
import type { Disk, FileStat } from '../../../core/os/disk.ts'
import { silentLog, type Log } from '../../../core/log.ts'
import { type MqttUsers, createMqttUsersSchema } from '../../../model/mqtt/users.ts'
import { UserDatabase, type UserDatabaseOptions } from '../../../protocols/mqtt/users/user-database.ts'
import { formatHash } from '../../../protocols/mqtt/users/password-hash.ts'

export const PASSWORDS = '/etc/passwords'

/** Files that are not there, not readable or somebody else's, as a test wants them. */
export class FilesDisk {
  readonly #files = new Map<string, { text: string | Buffer; stat: FileStat }>()
  readonly #failures = new Map<string, string>()
  #changes = 0
  reads = 0

  write(file: string, text: string | Buffer, { mode = 0o600, isOurs = true } = {}): void {
    this.#failures.delete(file)
    this.#files.set(file, {
      text,
      stat: {
        owner: { userId: 0, groupId: 0 },
        mode,
        isOurs,
        sizeBytes: text.length,
        stamp: String(++this.#changes),
      },
    })
  }
  remove(file: string): void {
    this.#files.delete(file)
    this.#failures.delete(file)
  }
  /** Reads of it fail until it is written. */
  fail(file: string, why: string): void {
    this.write(file, '')
    this.#failures.set(file, why)
  }
  get disk(): Disk {
    const part: Pick<Disk, 'read' | 'stat'> = {
      read: (file) => {
        this.reads++
        const failure = this.#failures.get(file)
        if (failure !== undefined) throw new Error(failure)
        const found = this.#files.get(file)
        return found && Buffer.from(found.text)
      },
      stat: (file) => this.#files.get(file)?.stat,
    }
    // The rest is not asked for here.
    return part as Disk
  }
}

/** A line with a hash that costs nothing. */
export function line(name: string, password: string): string {
  const salt = Buffer.from(name.padEnd(12, '.')).subarray(0, 12)
  const hash = pbkdf2Sync(password, salt, 1, 64, 'sha512')
  return `${name}:${formatHash({ kind: 'pbkdf2-sha512', iterations: 1, salt, hash })}`
}

export type UsersInput = Parameters<ReturnType<typeof createMqttUsersSchema>['parse']>[0]
export const settingsOf = (input: UsersInput): MqttUsers => createMqttUsersSchema().parse(input)

export function usersOn(
  files: FilesDisk,
  settings: UsersInput = { passwordFile: PASSWORDS, maxRefusalDelayMs: 0 },
  { log = silentLog }: { readonly log?: Log } = {},
): (p: Pick<UserDatabaseOptions, 'clock' | 'metrics'>) => UserDatabase {
  return ({ clock, metrics }) =>
    new UserDatabase({
      settings: settingsOf(settings),
      disk: files.disk,
      clock,
      log,
      metrics,
      time: () => ({ nowMs: clock.wallMs() }),
      fetchKeys: () => assert.fail('nothing is fetched'),
    })
}
