/** Who did what and who is logged in, beside the hub. */
import { systemClock } from '../../../core/os/clock.ts'
import { endSessions } from '../../console/logins.ts'
import type { AuditRow } from '../../registry/audit.ts'
import { noteByOperator } from '../open.ts'
import type { ListedSession, PeopleOperations } from './operations.ts'
import type { Beside } from './local-devices.ts'

export class LocalPeople implements PeopleOperations {
  readonly #at: Beside
  constructor(at: Beside) {
    this.#at = at
  }

  async audit(asked: { readonly subject: string | undefined; readonly most: number }): Promise<readonly AuditRow[]> {
    return await this.#at.registry.audit.list(asked)
  }
  async sessions(): Promise<readonly ListedSession[]> {
    const nowMs = systemClock.wallMs()
    const live = (await this.#at.registry.sessions.all()).filter(({ endsMs }) => endsMs > nowMs)
    return live.map(({ hash: _hash, ...session }) => session)
  }
  async endSessions(operator: string): Promise<number> {
    return await this.#at.registry.exclusively(async (tx) => {
      const ended = await endSessions(tx.sessions, operator)
      const detail = `${ended} session(s) and links`
      await noteByOperator(tx, this.#at.io, { event: 'console.ended', subject: operator, detail })
      return ended
    })
  }
}
