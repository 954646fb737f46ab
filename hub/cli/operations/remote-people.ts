/** Who did what and who is logged in, over the API. */
import type { AuditRow } from '../../registry/audit.ts'
import { auditPage, ended, sessionList } from '../../console/schemas.ts'
import type { HubClient } from '../console/client.ts'
import type { ListedSession, PeopleOperations } from './operations.ts'
import { readPages } from './pages.ts'

export class RemotePeople implements PeopleOperations {
  readonly #client: HubClient
  constructor(client: HubClient) {
    this.#client = client
  }

  async audit(asked: { readonly subject: string | undefined; readonly most: number }): Promise<readonly AuditRow[]> {
    let before: number | undefined
    const { rows } = await readPages(async ({ limit }) => {
      const query = { subject: asked.subject, before, limit }
      const { entries } = await this.#client.ask({ path: 'audit', query, answer: auditPage })
      before = entries.at(-1)?.id
      // How many there are nobody counts: the end is an empty page.
      return { total: Number.POSITIVE_INFINITY, rows: entries as readonly AuditRow[] }
    }, asked.most)
    return rows.toReversed()
  }
  async sessions(): Promise<readonly ListedSession[]> {
    const { sessions } = await this.#client.ask({ path: 'sessions', answer: sessionList })
    return sessions.map(({ id: _id, own: _own, ...session }) => session)
  }
  async endSessions(operator: string): Promise<number> {
    const path = 'sessions/end'
    return (await this.#client.ask({ method: 'POST', path, body: { operator }, answer: ended })).ended
  }
}
